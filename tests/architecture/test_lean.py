"""Reading commands never load what only supervising needs; workers load little."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.cli import VERBS

HEAVY = (
    "pydantic",
    "pydantic_settings",
    "watchdog",
    "filelock",
    "rich",
    "psutil",
    "prometheus_client",
    "dask",
    "distributed",
)


def loaded(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after a statement."""
    script = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    return {name.split(".")[0] for name in json.loads(done.stdout)}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_completed_and_explained_without_anything_heavy(verb: str) -> None:
    assert not loaded(f"import supervisor.cli, supervisor.commands.{verb}") & set(HEAVY)


def test_a_status_that_finds_nothing_under_way_reads_no_record_of_a_run(tmp_path: Path) -> None:
    (tmp_path / ".runs" / "t").mkdir(parents=True)
    history = tmp_path / "out" / "t" / "history.ndjson"
    history.parent.mkdir(parents=True)
    line = {"taskId": "t", "runId": "2025-10-31T22-56-34-431Z-9574035c", "status": "succeeded"}
    history.write_text(json.dumps({**line, "pipelineId": "p"}) + "\n")
    script = "import sys, json, io, contextlib\nfrom supervisor.cli import run\n"
    script += "with contextlib.redirect_stdout(io.StringIO()) as said:\n"
    script += f"    code = run(['status', '--json', '--root', {str(tmp_path)!r}])\n"
    script += "print(json.dumps([code, json.loads(said.getvalue())['runs'], sorted(sys.modules)]))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    code, runs, modules = json.loads(done.stdout)
    assert (code, [row["run_id"] for row in runs]) == (0, [line["runId"]])
    for name in ("spec", "manifest", "journal", "request", "atomic", "identity"):
        assert f"workers.records.{name}" not in modules
    for name in ("run_records", "find_run", "run_tree", "queue_state"):
        assert f"supervisor.report.read.{name}" not in modules
    assert "supervisor.report.terminal.run_table" not in modules


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
    assert "filelock" in loaded("import supervisor.store.state_lock")
