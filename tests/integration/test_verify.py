import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.root import Root, wait_until

PIPELINES = """
[pipelines.good]
stages = [{ id = "s", command = "echo x" }]
[pipelines.bad]
stages = [{ id = "s", command = "echo y >&2; exit 1" }]
"""


def settled(root: Root) -> None:
    root.configure(PIPELINES)
    assert root.call("start", "--once", "good", "bad", "good").code == 10


def run_of(root: Root, pipeline: str) -> Path:
    run_id = next(m["run_id"] for m in root.manifests() if m["pipeline_id"] == pipeline)
    return root.path / ".runs/default/cli" / str(run_id)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def drop_first_line(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))


def double_first_line(path: Path) -> None:
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], *lines]))


def lose_state_line(path: Path) -> None:
    state = json.loads(path.read_text())
    state["runs"].pop(1)
    path.write_text(json.dumps(state))


DAMAGE: dict[str, tuple[str, Callable[[Root], object]]] = {
    "a final manifest that says something else": (
        "differs from the journal in status",
        lambda r: edit(run_of(r, "bad") / "manifest.json", '"failed"', '"succeeded"'),
    ),
    "a journal without its verdict": (
        "the journal has no verdict",
        lambda r: edit(run_of(r, "good") / "journal.ndjson", '"verdict"', '"warning"'),
    ),
    "a journal with garbage": (
        "lines that are not facts",
        lambda r: edit(run_of(r, "good") / "journal.ndjson", "\n", "\nxx\n"),
    ),
    "a missing manifest": (
        "is missing",
        lambda r: (run_of(r, "good") / "manifest.json").unlink(),
    ),
    "a torn manifest": (
        "does not parse",
        lambda r: (run_of(r, "good") / "manifest.json").write_text("{"),
    ),
    "a run that nobody will finish": (
        "no supervisor will finish it",
        lambda r: edit(run_of(r, "good") / "manifest.json", '"succeeded"', '"in_progress"'),
    ),
    "a history that lacks a run": (
        "lacks run",
        lambda r: drop_first_line(r.path / "out/default/history.ndjson"),
    ),
    "a history with a run twice": (
        "2 times",
        lambda r: double_first_line(r.path / "out/default/history.ndjson"),
    ),
    "a state that lacks a run": (
        "which is in the history",
        lambda r: lose_state_line(r.path / "out/default/state.json"),
    ),
    "a missing state": ("is missing", lambda r: (r.path / "out/default/state.json").unlink()),
    "a log over its limit": (
        "more than 65536",
        lambda r: (run_of(r, "good") / "commands/01-s.stdout.log").write_text("x" * 70_000),
    ),
    "an error file over its limit": (
        "more than 10000",
        lambda r: (run_of(r, "bad") / "errors/01-s.json").write_text("x" * 10_001),
    ),
    "a file that others may read": (
        "is accessible to other users",
        lambda r: (run_of(r, "good") / "spec.json").chmod(0o644),
    ),
    "a link": (
        "symbolic link",
        lambda r: (run_of(r, "good") / "commands/link").symlink_to("/etc/passwd"),
    ),
    "something half written": (
        "is a partial file",
        lambda r: r.write(".runs/default/.x.json.999999999-1.tmp", "").chmod(0o600),
    ),
    "a foreign directory": (
        "has a name that is no run id",
        lambda r: os.mkdir(r.path / ".runs/default/cli/strange", 0o700),
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_every_kind_of_damage_is_reported(root: Root, name: str) -> None:
    settled(root)
    what, damage = DAMAGE[name]
    damage(root)
    done = root.call("verify")
    assert done.code == 65
    assert what in done.out
    found = root.call("verify", "--json").json()["violations"]
    assert any(what in item["what"] for item in found)


def test_intact_root_is_reported_as_such_and_not_changed(root: Root) -> None:
    assert root.call("verify").code == 0
    settled(root)
    before = {p: p.stat().st_mtime_ns for p in root.path.rglob("*")}
    done = root.call("verify")
    assert (done.code, "every record is in order" in done.out) == (0, True)
    assert {p: p.stat().st_mtime_ns for p in root.path.rglob("*")} == before


def test_active_runs_violate_nothing(root: Root) -> None:
    settled(root)
    root.call("submit", "--", "true")
    process = root.popen(
        "run", "--", "sh", "-c", "touch begun; while ! test -e go; do sleep 0.05; done"
    )
    wait_until((root.path / "begun").exists, "the stage runs")
    assert root.call("verify").code == 0
    root.write("go", "")
    assert root.finish(process).code == 0


def test_quarantined_requests_are_not_records(root: Root) -> None:
    settled(root)
    (Path(root.layout.rejected) / "link.json").symlink_to("/etc/hostname")
    assert root.call("verify").code == 0
