"""A directory, FIFO, socket or link in a record's place: never followed, never waited for."""

import json
import os
from pathlib import Path

import pytest

from supervisor.cli import run as supervisor
from tests.faults.damage import OWN, RECORDS, accept, put, spec_in
from tests.root import Root

KINDS = ["directory", "fifo", pytest.param("socket", marks=pytest.mark.slow), "link"]
CODES = {0, 2, 3, 4, 10, 11, 12, 65, 73}
"""Those of the contract; 1 would be a bug."""


def look(root: Root, *words: str) -> int:
    """A command that reads, in this process: one that waits for a FIFO meets the time limit."""
    return supervisor([*words, "--root", str(root.path)])


@pytest.mark.fault("F14")
@pytest.mark.parametrize("kind", KINDS)
def test_readers_neither_wait_for_nor_follow_what_stands_in_a_records_place(
    root: Root, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    for number, name in enumerate([*RECORDS, *OWN]):
        spec = spec_in(f"t{number}", number)
        accept(root, [spec], begun=True)
        run = root.layout.run_dir(spec.task_id, spec.run_id)
        path = Path(
            RECORDS[name](root.layout, run, spec.task_id)
            if name in RECORDS
            else OWN[name](root.layout)
        )
        put(path, kind, elsewhere)
        own = [("show", spec.run_id), ("logs", spec.run_id), ("status", spec.run_id)]
        for words in (("status",), ("verify",), *own):
            assert look(root, *words) in CODES, (name, words)
        assert os.path.lexists(path)
    assert elsewhere.read_text() == "mine"
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    shown = supervisor(["status", "--json", "--root", str(root.path)])
    assert shown in (0, 3)
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert len(runs) >= len(RECORDS) + len(OWN) - 1  # but for the one whose marker it was


@pytest.mark.fault("F14", "F15")
@pytest.mark.parametrize("kind", KINDS)
def test_a_start_sets_aside_what_is_in_its_way_and_every_run_gets_its_verdict(
    root: Root, tmp_path: Path, kind: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    specs = {}
    for number, name in enumerate(RECORDS):
        for begun in (True, False):
            spec = spec_in(f"t{number}-{begun}", 2 * number + begun)
            accept(root, [spec], begun=begun)
            specs[name, begun] = spec
    for (name, _), spec in specs.items():
        run = root.layout.run_dir(spec.task_id, spec.run_id)
        put(Path(RECORDS[name](root.layout, run, spec.task_id)), kind, elsewhere)
    for path in OWN.values():
        put(Path(path(root.layout)), kind, elsewhere)
    done = root.call("start", "--once")
    assert "Traceback" not in done.err, done.err
    assert done.code == 12, done.err
    for (name, begun), spec in specs.items():
        run = root.layout.run_dir(spec.task_id, spec.run_id)
        manifest = json.loads(Path(run.manifest).read_text())
        verdicts = [e for e in root.events(spec.run_id, spec.task_id) if e["event"] == "verdict"]
        assert len(verdicts) == 1, (name, begun)
        history = [line for line in root.history(spec.task_id) if line["runId"] == spec.run_id]
        assert [line["status"] for line in history] == [manifest["status"]], (name, begun)
        assert [r["runId"] for r in root.state(spec.task_id)["runs"]] == [spec.run_id]
        if begun:
            assert manifest["status_detail"] == "worker-lost", (name, begun)
        elif name not in ("spec", "journal", "cancel"):  # what is there asks for an end
            assert manifest["status"] == "succeeded", (name, begun, manifest["status_detail"])
    assert os.listdir(root.layout.accepted) == []
    assert elsewhere.read_text() == "mine"
    assert root.call("start", "--once").code == 0
