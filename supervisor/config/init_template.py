"""A first configuration for a project: its own checks as stages, as far as they can run here.

What is looked at are the files that name a project's checks: pyproject.toml, package.json,
Cargo.toml, go.mod, a Makefile. A check whose program is not there is left out and told, so that
what is written runs at once. Where nothing is found, a pipeline of two echoes shows the shape.
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
from workers.records.dataclass import dataclass

BATCH: Final = os.path.join("config", "batches", "checks.toml")
PIPELINE: Final = "checks"
_NPM_NO_TEST: Final = "no test specified"  # what `npm init` writes: a script that only fails
_TARGET: Final = re.compile(r"^(format-check|lint|typecheck|check|build|test)[ \t]*:(?!=)", re.M)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # at the head of a requirement
_SCRIPTS: Final = ("lint", "typecheck", "build", "test")
_TIMEOUT_S: Final = 1800  # nobody's lint; a first guess that ends what hangs within the hour

Which = Callable[[str], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that the project calls a check.

    Attributes:
        command: an argv; its first word is looked for on PATH.
        why: the file that led to it.
    """

    id: str
    command: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Starter:
    """What to write, and what to say.

    Attributes:
        files: path below the root to text, in the order in which they are to be written: the
            configuration, which makes it a whole, comes last.
        pipeline: what to run first.
        found: what was made of the project's files, in words.
        notices: what the operator should know.
    """

    files: dict[str, str]
    pipeline: str
    found: tuple[str, ...]
    notices: tuple[str, ...]


def starter_for(root: str, which: Which) -> Starter:
    """Look at a project and compose its first configuration.

    Args:
        root: its directory.
        which: where a program is, None where it is not there.

    Raises:
        ConfigError: the root's ``codex.orchestrator.json`` is wrong.
    """
    if os.path.lexists(os.path.join(root, ORIGIN)):
        pipelines, default, notices = read_origin(os.path.join(root, ORIGIN))
        if pipelines:
            return _beside_origin(default or next(iter(pipelines)), len(pipelines), notices)
    checks, missing, seen = [], [], set()
    for check in _checks(root):
        if check.id in seen:
            continue  # an earlier file speaks for it
        if which(check.command[0]) is None:
            missing.append(
                f"{check.why} suggests '{' '.join(check.command)}', but {check.command[0]!r} is "
                "not on PATH: left out"
            )
            continue
        seen.add(check.id)
        checks.append(check)
    found = tuple(f"{check.id}: {' '.join(check.command)}  ({check.why})" for check in checks)
    if not checks:
        checks = [
            Check(id="hello", command=("echo", "hello from the first stage"), why=""),
            Check(id="goodbye", command=("echo", "and from the second"), why=""),
        ]
        found = ("nothing that names checks: two stages that say hello",)
    return Starter(
        files={BATCH: _batch(PIPELINE), CONFIG: _config(checks)},
        pipeline=PIPELINE,
        found=found,
        notices=tuple(missing),
    )


def _beside_origin(pipeline: str, count: int, notices: tuple[str, ...]) -> Starter:
    """The origin's file keeps the pipelines; ours holds the settings beside it."""
    return Starter(
        files={BATCH: _batch(pipeline), CONFIG: _config([])},
        pipeline=pipeline,
        found=(f"{ORIGIN}: its {count} pipelines are read as they stand",),
        notices=notices,
    )


def _text(path: str) -> str:
    """A file of the project; what cannot be read names no check: its own tools will complain."""
    try:
        return read_text(path)
    except ConfigError:
        return ""


def _checks(root: str) -> Iterator[Check]:
    """Every check that the project's files name, the most telling file first."""
    yield from _python(root)
    yield from _node(root)
    if os.path.isfile(os.path.join(root, "Cargo.toml")):
        yield Check(id="format", command=("cargo", "fmt", "--check"), why="Cargo.toml")
        yield Check(id="build", command=("cargo", "build"), why="Cargo.toml")
        yield Check(id="test", command=("cargo", "test"), why="Cargo.toml")
    if os.path.isfile(os.path.join(root, "go.mod")):
        yield Check(id="vet", command=("go", "vet", "./..."), why="go.mod")
        yield Check(id="test", command=("go", "test", "./..."), why="go.mod")
    for name in ("GNUmakefile", "makefile", "Makefile"):
        path = os.path.join(root, name)
        if os.path.isfile(path):
            for target in dict.fromkeys(_TARGET.findall(_text(path))):
                yield Check(id=target, command=("make", target), why=name)
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
            yield Check(id=name, command=command, why=other or "pyproject.toml")


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
    """The distributions that the project is developed with: of its groups and of its extras."""
    extras = _table(_table(project, "project"), "optional-dependencies")
    for wanted in (*_table(project, "dependency-groups").values(), *extras.values()):
        for requirement in wanted if isinstance(wanted, list) else ():
            found = _NAME.match(requirement) if isinstance(requirement, str) else None
            if found is not None:
                yield found[0].lower()


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
            yield Check(id=name, command=(by, "run", name), why="package.json")


def _config(checks: list[Check]) -> str:
    lines = [
        "#:schema ./schema/config.json",
        "# Settings and pipelines. 'supervisor schema config' describes every key to an editor.",
        "",
        "[supervisor]",
        'batch = "batches/checks.toml"  # what a bare `supervisor start` runs',
        "# max_runs = 50                # runs at once",
    ]
    if checks:
        lines += ["", f"[pipelines.{PIPELINE}]", 'title = "Checks"']
    for check in checks:
        words = ", ".join(json.dumps(word, ensure_ascii=False) for word in check.command)
        lines += [
            "",
            f"[[pipelines.{PIPELINE}.stages]]",
            f'id = "{check.id}"',
            f"command = [{words}]",
            f"timeout_s = {_TIMEOUT_S}",
        ]
    return "\n".join(lines) + "\n"


def _batch(pipeline: str) -> str:
    return (
        "#:schema ../schema/batch.json\n"
        "# Runs to make together; one [[runs]] for each pipeline.\n\n"
        f'[[runs]]\npipeline = "{pipeline}"\ntask = "checks"\n'
    )
