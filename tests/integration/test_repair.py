"""``repair`` repairs what ``verify`` reports, keeps what it replaces, and prints each repair."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.root import Root, wait_until
from workers.records.flock import is_flocked

PIPELINES = """
[pipelines.p]
stages = [{ id = "s", command = "true" }]
"""


def run_of(root: Root) -> Path:
    return root.path / ".runs/default/cli" / root.manifests()[0]["run_id"]


def edit_history(root: Root) -> None:
    """Two verdicts of one run, and a damaged line."""
    path = Path(root.layout.history("default"))
    line = json.loads(path.read_text().splitlines()[0])
    more = json.dumps({**line, "status": "failed", "statusDetail": "worker-lost"})
    path.write_text(path.read_text() + more + "\ngarbage\n")


def edit_manifest(root: Root) -> None:
    path = run_of(root) / "manifest.json"
    path.write_text(path.read_text().replace('"succeeded"', '"failed"', 1))


def damage_journal(root: Root) -> None:
    """Damage the verdict's line, so that the journal has none."""
    path = run_of(root) / "journal.ndjson"
    path.write_bytes(path.read_bytes().replace(b'"event": "verdict"', b'"event"  "verdict"'))


def remove_manifest(root: Root) -> None:
    os.unlink(run_of(root) / "manifest.json")


def edit_views(root: Root) -> None:
    path = Path(root.layout.state("default"))
    path.write_text(path.read_text().replace('"runs": 2', '"runs": 7'))
    Path(root.layout.metrics("default")).write_text("{}")


def open_modes(root: Root) -> None:
    os.chmod(run_of(root), 0o755)
    os.chmod(root.layout.history("default"), 0o644)


def leave_litter(root: Root) -> None:
    """Temporary files of dead writers, also in a finished run and in foreign places."""
    run = run_of(root)
    for name in (".manifest.json.999999999-1-1.tmp", "spec.json.corrupt-1"):
        (run / name).write_text("half")
        (run / name).chmod(0o600)
    (root.path / ".runs/default/cli/notes").mkdir(mode=0o700)


@pytest.mark.fault("C34")
@pytest.mark.parametrize(
    "spoil",
    [
        edit_history,
        edit_manifest,
        damage_journal,
        remove_manifest,
        edit_views,
        open_modes,
        leave_litter,
    ],
)
def test_violations_are_repaired_once_and_the_first_verdict_counts(
    root: Root, spoil: Callable[[Root], None]
) -> None:
    root.configure(PIPELINES)
    assert root.call("start", "--once", "p", "p").code == 0
    spoil(root)
    assert root.call("verify").code == 65
    done = root.call("repair")
    assert done.code == 0, done.out
    assert "0 left" in done.out
    assert [line["status"] for line in root.history()] == ["succeeded", "succeeded"]
    root.check_settled(count=2)
    assert "0 repaired, 0 left" in root.call("repair").out


@pytest.mark.fault("C34")
def test_a_repair_keeps_what_it_replaces(root: Root) -> None:
    root.configure(PIPELINES)
    assert root.call("start", "--once", "p").code == 0
    edit_history(root)
    before = Path(root.layout.history("default")).read_bytes()
    kept_in = Path(root.call("repair", "--json").json()["kept_in"])
    assert (kept_in / "out/default/history.ndjson").read_bytes() == before


@pytest.mark.fault("C34")
def test_nothing_is_repaired_while_a_supervisor_serves(root: Root) -> None:
    root.configure(PIPELINES)
    assert root.call("start", "--once", "p").code == 0
    serving = root.popen("start")
    wait_until(lambda: is_flocked(root.layout.lease_lock), "the supervisor serves")
    edit_manifest(root)
    assert root.call("repair").code == 75
    root.stop(serving)
    assert root.call("repair").code == 0
    root.check_settled(count=1)


@pytest.mark.fault("C34")
def test_the_next_start_finishes_a_run_that_lost_its_marker(root: Root) -> None:
    root.configure(PIPELINES)
    assert root.call("start", "--once", "p").code == 0
    root.call("pause")
    serving = root.popen("start")
    run_id = root.call("submit", "p").out.strip()
    root.wait_for_status(run_id, "queued")
    root.stop(serving)
    root.call("resume")
    os.unlink(root.layout.marker(run_id))
    assert "the next start finishes the run" in root.call("repair").out
    assert root.call("start", "--once").code == 0
    root.check_settled(count=2)


@pytest.mark.fault("C34")
def test_violations_that_need_a_person_are_reported(root: Root) -> None:
    root.configure(PIPELINES)
    assert root.call("start", "--once", "p").code == 0
    os.unlink(run_of(root) / "commands/01-s.stdout.log")
    done = root.call("repair")
    assert done.code == 65
    assert "is missing, although its stage ended; not repaired" in done.out
