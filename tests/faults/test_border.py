"""The border of the command line: every verb in surroundings that are not as they should be.

One table for all verbs. Each call must end with its exit code, without a traceback, with at most
a bounded line on stderr, and without a file that the verb has no reason to create.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from supervisor.cli import VERBS
from tests.root import DEADLINE_S, Root, root_in

NOBODY = 65_534
IS_ROOT = os.geteuid() == 0
COMMAND = f"{sys.executable} -m supervisor"
LINE_LIMIT_CHARS = 8_192  # two paths of the greatest length fit


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """How a verb is called, and the exit code where nothing is configured and no run exists."""

    words: tuple[str, ...]
    code: int = 0
    writes: bool = False
    rootless: bool = False


CALLS = {
    "start": Verb(words=("--once",), writes=True),
    "run": Verb(words=("--", "true"), writes=True),
    "submit": Verb(words=("--", "true"), writes=True),
    "retry": Verb(words=("latest",), code=4, writes=True),
    "status": Verb(words=()),
    "show": Verb(words=("latest",), code=4),
    "logs": Verb(words=("latest",), code=4),
    "events": Verb(words=()),
    "report": Verb(words=("latest", "-o", "-"), code=4),
    "wait": Verb(words=("latest",), code=4),
    "cancel": Verb(words=("latest",), code=4, writes=True),
    "pause": Verb(words=(), writes=True),
    "resume": Verb(words=(), writes=True),
    "drain": Verb(words=(), writes=True),
    "stop": Verb(words=(), writes=True),
    "init": Verb(words=(), writes=True),
    "validate": Verb(words=()),
    "plan": Verb(words=("none",), code=2),
    "schema": Verb(words=("manifest",), rootless=True),
    "unit": Verb(words=()),
    "completion": Verb(words=("bash",), rootless=True),
    "doctor": Verb(words=()),
    "verify": Verb(words=()),
    "repair": Verb(words=(), writes=True),
    "gc": Verb(words=("--keep-runs", "1", "--yes"), writes=True),
    "metrics": Verb(words=()),
}
WITH_CONFIG = [name for name, verb in CALLS.items() if not verb.rootless and name != "init"]


def test_every_verb_is_in_the_table() -> None:
    assert set(CALLS) == set(VERBS)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """An empty directory whose processes are gone afterwards."""
    with root_in(tmp_path / "unused"):
        made = tmp_path / "place"
        made.mkdir()
        yield made


def call(
    name: str, cwd: Path, *more: str, gone: bool = False, closed: bool = False
) -> subprocess.CompletedProcess[str]:
    """Call a verb and check what holds for every call.

    Args:
        name: the verb.
        cwd: where it is called.
        more: options.
        gone: the directory is deleted before the verb begins.
        closed: stdout is closed.
    """
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SUPERVIS", "SUDO"))}
    words = [sys.executable, "-m", "supervisor", name, *more, *CALLS[name].words]
    script = 'cd "$0" || exit 99; '
    script += 'rmdir "$0" || exit 99; ' if gone else ""
    script += 'exec "$@" >&-' if closed else 'exec "$@"'
    done = subprocess.run(
        ["/bin/sh", "-c", script, str(cwd), *words],
        env={**clean, "XDG_CONFIG_HOME": str(cwd / "xdg")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert all(len(line) <= LINE_LIMIT_CHARS for line in done.stderr.splitlines())
    return done


def files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


@pytest.mark.parametrize("name", CALLS)
def test_verb_without_a_configuration(name: str, place: Path) -> None:
    done = call(name, place)
    assert done.returncode == CALLS[name].code, done.stderr
    assert CALLS[name].writes or files(place) == set()


@pytest.mark.fault("S18")
@pytest.mark.parametrize("name", CALLS)
def test_verb_below_a_foreign_configuration(name: str, place: Path) -> None:
    (place / "config").mkdir()
    (place / "config/supervisor.toml").write_text('[supervisor]\non_finish = "touch pwned"\n')
    (place / "mine").mkdir()
    if IS_ROOT:
        os.chown(place / "config", NOBODY, NOBODY)
    else:
        (place / "config").chmod(0o777)
    before = files(place)
    done = call(name, place / "mine")
    if CALLS[name].rootless or name == "init":  # a configuration of one's own is the way out
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode == (73 if name == "doctor" else 78), done.stderr
    told = done.stdout if name == "doctor" else done.stderr
    assert str(place / "config") in told
    assert "SUPERVISOR_TRUSTED_DIRS=" in told
    assert "nobody (uid" in told or "every user" in told or f"uid {NOBODY}" in told
    assert files(place) == before


@pytest.mark.fault("S19")
@pytest.mark.skipif(not IS_ROOT, reason="needs root")
@pytest.mark.parametrize("name", [name for name, verb in CALLS.items() if not verb.rootless])
def test_verb_in_a_named_foreign_root(name: str, root: Root) -> None:
    root.configure('[pipelines.none]\nstages = [{ id = "s", command = "true" }]\n')
    assert root.call("start", "--once", "none").code == 0
    for path in (root.path, *root.path.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    before = files(root.path)
    done = call(name, root.path.parent, "--root", str(root.path))
    if CALLS[name].writes:
        assert done.returncode in (73, 78), done.stderr
        assert "belongs to" in done.stderr
    elif name in ("verify", "doctor"):
        assert done.returncode in (65, 73), "they report whose the records are"
    else:
        assert done.returncode == 0, done.stderr
    assert files(root.path) == before
    assert {path.lstat().st_uid for path in root.path.rglob("*")} == {NOBODY}


@pytest.mark.fault("S18")
@pytest.mark.skipif(not IS_ROOT, reason="needs root")
@pytest.mark.parametrize(
    "file", ["codex.orchestrator.json", "xdg/pipeline-supervisor/supervisor.toml", "batch.toml"]
)
def test_every_file_that_names_commands_is_checked(root: Root, file: str) -> None:
    texts = {
        "codex.orchestrator.json": '{"pipelines": []}',
        "batch.toml": '[[runs]]\npipeline = "p"\n',
    }
    root.configure(
        '[pipelines.p]\nstages = [{ id = "s", command = "true" }]\n',
        settings='batch = "../batch.toml"\n' if file == "batch.toml" else "",
    )
    root.write(file, texts.get(file, "[supervisor]\non_finish = 'touch pwned'\n"))
    os.chown(root.path / file, NOBODY, NOBODY)
    done = root.call("start", "--once", *([] if file == "batch.toml" else ["p"]))
    assert done.code == 78
    assert f"{root.path / file}: belongs to " in done.err
    assert not (root.path / ".runs").exists()


@pytest.mark.fault("S19")
@pytest.mark.skipif(not IS_ROOT, reason="needs root")
def test_sudo_reads_the_root_of_its_caller_and_does_not_write_there(root: Root) -> None:
    root.configure('[pipelines.p]\nstages = [{ id = "s", command = "true" }]\n')
    assert root.call("start", "--once", "p").code == 0
    for path in (root.path, *root.path.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    by_sudo = {"SUDO_UID": str(NOBODY)}
    assert root.call("status", env=by_sudo).code == 0
    assert root.call("validate", env=by_sudo).code == 0
    assert root.call("status").code == 78, "without sudo nobody vouches for it"
    assert root.call("run", "p", env=by_sudo).code == 73
    assert {path.lstat().st_uid for path in root.path.rglob("*")} == {NOBODY}


@pytest.mark.fault("S18")
def test_doctor_reports_a_configuration_that_others_can_write(root: Root) -> None:
    path = root.path / "config/supervisor.toml"
    path.chmod(0o666)
    done = root.call("doctor", "--root", str(root.path), "--json")
    assert done.code == 73
    (finding,) = [item for item in done.json()["findings"] if item["check"] == "configuration"]
    assert finding["level"] == "bad"
    assert "can be written by every user (mode 666)" in finding["what"]
    assert f"chmod go-w {path}" in finding["fix"]
    path.chmod(0o644)
    listed = root.call("doctor", "--json").json()["findings"]
    assert [item["level"] for item in listed if item["check"] == "configuration"] == ["ok"]


@pytest.mark.fault("C21")
@pytest.mark.parametrize("name", WITH_CONFIG)
def test_verb_with_a_missing_config(name: str, place: Path) -> None:
    missing = place / "cofnig/supervisor.toml"
    done = call(name, place, "--config", str(missing))
    assert done.returncode == 78, done.stderr
    assert done.stderr.startswith(f"supervisor: {missing}: does not exist")
    assert files(place) == set()


@pytest.mark.fault("C22")
@pytest.mark.parametrize("name", CALLS)
def test_verb_in_a_deleted_directory(name: str, place: Path) -> None:
    (place / "gone").mkdir()
    done = call(name, place / "gone", gone=True)
    if CALLS[name].rootless:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 2, done.stderr
        assert "the current directory does not exist any more" in done.stderr
        assert done.stderr.count("\n") == 1
    assert files(place) == set()


@pytest.mark.fault("C22")
@pytest.mark.parametrize("name", [name for name, verb in CALLS.items() if not verb.rootless])
def test_absolute_root_works_in_a_deleted_directory(name: str, place: Path) -> None:
    (place / "gone").mkdir()
    (place / "root").mkdir()
    done = call(name, place / "gone", "--root", str(place / "root"), gone=True)
    assert done.returncode == CALLS[name].code, done.stderr
    assert CALLS[name].writes or files(place) == {"root"}


@pytest.mark.fault("P36")
@pytest.mark.parametrize("name", CALLS)
def test_verb_with_a_closed_stdout(name: str, place: Path) -> None:
    done = call(name, place, closed=True)
    assert done.returncode == CALLS[name].code, done.stderr
    assert name != "submit" or "the run is accepted, its id is 20" in done.stderr


def id_in(text: str) -> str:
    """The id that a message names."""
    found = re.search(r"accepted, its id is (\S+)", text)
    assert found, text
    return found[1]


@pytest.mark.fault("P36")
@pytest.mark.parametrize("stdout", [">&-", ">/dev/full", "| true"])
@pytest.mark.parametrize("words", ["submit --json -- true", "retry latest"])
def test_accepted_run_is_named_on_stderr_if_stdout_takes_nothing(
    root: Root, words: str, stdout: str
) -> None:
    assert root.call("run", "--", "false").code == 10
    if stdout == "| true":
        # The reader has ended before the verb writes: its end is waited for, not hoped for.
        script = f"mkfifo pipe; : <pipe & exec 3>pipe; wait; exec {COMMAND} {words} >&3"
    else:
        script = f"exec {COMMAND} {words} {stdout}"
    process = root.shell(script)
    done = root.finish(process)
    assert done.code == 0, done.err
    assert root.call("start", "--once").code in (0, 10)
    assert id_in(done.err) in {line["runId"] for line in root.history()}


@pytest.mark.fault("S7")
@pytest.mark.parametrize("name", [name for name, verb in CALLS.items() if not verb.rootless])
def test_path_of_the_root_cannot_drive_a_terminal(name: str, tmp_path: Path) -> None:
    with root_in(tmp_path / "a\x1b]0;title\x07\u202eb") as hostile:
        hostile.configure('[pipelines.none]\nstages = [{ id = "s", command = "true" }]\n')
        done = call(name, hostile.path)
        assert not re.search("[\x07\x1b\u202e]", done.stdout + done.stderr)


@pytest.mark.fault("S20")
@pytest.mark.parametrize(
    "words",
    [
        ("show", "x" * 70_000),
        ("run", "x" * 70_000),
        ("x" * 70_000,),
        ("completion", "x" * 70_000),
        ("status", "--root", "/" + "x/" * 30_000),
        ("plan", "none", "--param", "x" * 70_000),
    ],
)
def test_error_that_repeats_a_long_word_is_bounded(root: Root, words: tuple[str, ...]) -> None:
    done = root.call(*words)
    assert "Traceback" not in done.err
    assert done.code != 0
    assert all(len(line) <= LINE_LIMIT_CHARS for line in done.err.splitlines())
