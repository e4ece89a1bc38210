"""Reading commands never load what only supervising needs; workers load little."""

import json
import subprocess
import sys

import pytest

HEAVY = (
    "pydantic",
    "pydantic_settings",
    "watchdog",
    "filelock",
    "rich",
    "psutil",
    "prometheus_client",
)


def loaded(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after a statement."""
    script = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    return {name.split(".")[0] for name in json.loads(done.stdout)}


@pytest.mark.parametrize(
    "verb",
    ["status", "show", "logs", "wait", "cancel", "stop", "schema", "unit", "completion", "metrics"],
)
def test_a_reading_command_stays_light(verb: str) -> None:
    assert not loaded(f"import supervisor.cli, supervisor.commands.{verb}") & set(HEAVY)


def test_the_version_needs_no_command_line() -> None:
    statement = "import sys; sys.argv = ['supervisor', '--version']\nimport io, contextlib\n"
    statement += "from supervisor.__main__ import main\n"
    statement += "with contextlib.redirect_stdout(io.StringIO()) as said: main()"
    assert not loaded(statement) & {*HEAVY, "click"}


def test_help_needs_no_verb() -> None:
    statement = "from supervisor.cli import run\nimport io, contextlib\n"
    statement += "with contextlib.redirect_stdout(io.StringIO()): run(['--help'])"
    assert not loaded(statement) & set(HEAVY)


def test_a_worker_loads_the_standard_library_only_and_little_of_it() -> None:
    found = loaded("import workers.__main__")
    assert not found & {*HEAVY, "click", "supervisor"}
    assert not found & {"asyncio", "logging", "argparse", "pathlib", "typing_extensions"}


def test_heavy_modules_would_be_seen() -> None:
    assert "filelock" in loaded("import supervisor.edge.locks")
