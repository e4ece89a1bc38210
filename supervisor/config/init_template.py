"""A first configuration for a project: its own checks as stages, if their programs exist here.

The checks come from pyproject.toml, package.json, Cargo.toml, go.mod or a Makefile. A check whose
program does not exist is left out and reported, so that the configuration runs at once. If there
are no checks, a pipeline of two echoes serves as an example.
"""

import json
import os
import re
import tomllib
from collections.abc import Callable, Iterator
from typing import Any, Final

from supervisor.config.config_files import read_text
from supervisor.config.find_root import CONFIG, ORIGIN
from supervisor.config.origin import read_origin
from supervisor.errors import ConfigError
from workers.records.atomic import write_all
from workers.records.dataclass import dataclass
from workers.records.files import CREATE

BATCH: Final = os.path.join("config", "batches", "checks.toml")
PIPELINE: Final = "checks"
_NPM_NO_TEST: Final = "no test specified"  # the script that `npm init` writes, which only fails
_TARGET: Final = re.compile(r"^(format-check|lint|typecheck|check|build|test)[ \t]*:(?!=)", re.M)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # at the head of a requirement
_SCRIPTS: Final = ("lint", "typecheck", "build", "test")
_TIMEOUT_S: Final = 1800  # a first guess, to end a check that hangs within the hour

Which = Callable[[str], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A check of the project.

    Attributes:
        command: a program on PATH and its arguments.
        source: the file that names the check.
    """

    id: str
    command: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Starter:
    """A first configuration.

    Attributes:
        files: path below the root to text, in writing order: the configuration comes last.
        pipeline: the pipeline to run first.
        checks: descriptions of the checks, for people.
        notices: messages for the operator.
    """

    files: dict[str, str]
    pipeline: str
    checks: tuple[str, ...]
    notices: tuple[str, ...]


def starter_for(root: str, which: Which) -> Starter:
    """Compose the first configuration of a project.

    Args:
        root: its directory.
        which: finds a program; None if it does not exist.

    Raises:
        ConfigError: every problem of the root's ``codex.orchestrator.json``.
    """
    if os.path.lexists(os.path.join(root, ORIGIN)):
        pipelines, default, notices = read_origin(os.path.join(root, ORIGIN))
        if pipelines:
            return _next_to_origin(default or next(iter(pipelines)), len(pipelines), notices)
    checks, missing, seen = [], [], set()
    for check in _checks(root):
        if check.id in seen:
            continue  # an earlier file has it, too
        if which(check.command[0]) is None:
            missing.append(
                f"{check.source} suggests '{' '.join(check.command)}', but {check.command[0]!r} is "
                "not on PATH; it is left out"
            )
            continue
        seen.add(check.id)
        checks.append(check)
    shown = tuple(f"{check.id}: {' '.join(check.command)}  ({check.source})" for check in checks)
    if not checks:
        checks = [
            Check(id="hello", command=("echo", "hello from the first stage"), source=""),
            Check(id="goodbye", command=("echo", "and from the second"), source=""),
        ]
        shown = ("no file that names checks: the example has two stages that print a line",)
    return Starter(
        files={BATCH: _batch(PIPELINE), CONFIG: _config(checks)},
        pipeline=PIPELINE,
        checks=shown,
        notices=tuple(missing),
    )


def _next_to_origin(pipeline: str, count: int, notices: tuple[str, ...]) -> Starter:
    """The origin's file keeps the pipelines; ours has only settings."""
    return Starter(
        files={BATCH: _batch(pipeline), CONFIG: _config([])},
        pipeline=pipeline,
        checks=(f"{ORIGIN}: its {count} pipelines are used as they are",),
        notices=notices,
    )


def _text(path: str) -> str:
    """A file of the project, "" if it cannot be read: its own tools will report it."""
    try:
        return read_text(path)
    except ConfigError:
        return ""


def _checks(root: str) -> Iterator[Check]:
    """Every check that the project's files name."""
    yield from _python(root)
    yield from _node(root)
    if os.path.isfile(os.path.join(root, "Cargo.toml")):
        yield Check(id="format", command=("cargo", "fmt", "--check"), source="Cargo.toml")
        yield Check(id="build", command=("cargo", "build"), source="Cargo.toml")
        yield Check(id="test", command=("cargo", "test"), source="Cargo.toml")
    if os.path.isfile(os.path.join(root, "go.mod")):
        yield Check(id="vet", command=("go", "vet", "./..."), source="go.mod")
        yield Check(id="test", command=("go", "test", "./..."), source="go.mod")
    for name in ("GNUmakefile", "makefile", "Makefile"):
        path = os.path.join(root, name)
        if os.path.isfile(path):
            for target in dict.fromkeys(_TARGET.findall(_text(path))):
                yield Check(id=target, command=("make", target), source=name)
            return


def _python(root: str) -> Iterator[Check]:
    project = _pyproject(os.path.join(root, "pyproject.toml"))
    named = {*_table(project, "tool"), *_developing(project)}
    wanted = (
        ("lint", ("ruff", "check", "."), "ruff", ("ruff.toml", ".ruff.toml")),
        ("types", ("mypy", "."), "mypy", ("mypy.ini", ".mypy.ini")),
        ("test", ("pytest", "-q"), "pytest", ("pytest.ini", "tests/conftest.py", "conftest.py")),
    )
    for name, command, tool, files in wanted:
        other = next((f for f in files if os.path.isfile(os.path.join(root, f))), None)
        if tool in named or other is not None:
            yield Check(id=name, command=command, source=other or "pyproject.toml")


def _pyproject(path: str) -> dict[str, Any]:
    if not os.path.isfile(path):
        return {}
    try:
        return tomllib.loads(_text(path))
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}


def _table(above: dict[str, Any], key: str) -> dict[str, Any]:
    value = above.get(key)
    return value if isinstance(value, dict) else {}


def _developing(project: dict[str, Any]) -> Iterator[str]:
    """The distributions of the project's dependency groups and extras."""
    extras = _table(_table(project, "project"), "optional-dependencies")
    for wanted in (*_table(project, "dependency-groups").values(), *extras.values()):
        for requirement in wanted if isinstance(wanted, list) else ():
            name = _NAME.match(requirement) if isinstance(requirement, str) else None
            if name is not None:
                yield name[0].lower()


def _node(root: str) -> Iterator[Check]:
    path = os.path.join(root, "package.json")
    if not os.path.isfile(path):
        return
    try:
        data = json.loads(_text(path))
    except (ValueError, RecursionError):
        return
    scripts = data.get("scripts") if isinstance(data, dict) else None
    locks = (("pnpm-lock.yaml", "pnpm"), ("yarn.lock", "yarn"), ("bun.lock", "bun"))
    by = next((p for lock, p in locks if os.path.isfile(os.path.join(root, lock))), "npm")
    if not isinstance(scripts, dict):
        return
    for name in _SCRIPTS:
        text = scripts.get(name)
        if isinstance(text, str) and _NPM_NO_TEST not in text:
            yield Check(id=name, command=(by, "run", name), source="package.json")


def _config(checks: list[Check]) -> str:
    lines = [
        "#:schema ./schema/config.json",
        "# Settings and pipelines. 'supervisor schema config' describes every key to an editor.",
        "",
        "[supervisor]",
        'batch = "batches/checks.toml"  # batch that `supervisor start` runs by default',
        "# max_runs = 50                # runs at once",
    ]
    if checks:
        lines += ["", f"[pipelines.{PIPELINE}]", 'title = "Checks"']
    for check in checks:
        argv = ", ".join(json.dumps(argument, ensure_ascii=False) for argument in check.command)
        lines += [
            "",
            f"[[pipelines.{PIPELINE}.stages]]",
            f'id = "{check.id}"',
            f"command = [{argv}]",
            f"timeout_s = {_TIMEOUT_S}",
        ]
    return "\n".join(lines) + "\n"


def _batch(pipeline: str) -> str:
    return (
        "#:schema ../schema/batch.json\n"
        "# Runs to start together; one [[runs]] for each pipeline.\n\n"
        f'[[runs]]\npipeline = "{pipeline}"\ntask = "checks"\n'
    )


def write_new(path: str, text: str) -> bool:
    """Write a file that does not exist yet, and the missing directories above it.

    Args:
        path: the file. Unlike a record it gets the mode of the operator's umask.
        text: its content.

    Returns:
        False if something exists there, which is left as it is.

    Raises:
        OSError: it could not be written; nothing of it is left.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    try:
        fd = os.open(path, CREATE, 0o666)
    except FileExistsError:
        return False
    try:
        write_all(fd, text.encode())
    except OSError:
        os.unlink(path)
        raise
    finally:
        os.close(fd)
    return True
