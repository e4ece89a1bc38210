"""Records of a later version: listed as such, never rewritten, never in the way."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.root import Root

pytestmark = pytest.mark.fault("C16")


def accepted(root: Root) -> tuple[str, Path]:
    """A run that was accepted by a supervisor which left before it could begin it."""
    run_id = root.call("submit", "--", "true").out.strip()
    assert root.call("start", "--once").code == 0
    directory = root.path / ".runs/default/cli" / run_id
    journal = directory / "journal.ndjson"
    journal.write_bytes(journal.read_bytes().splitlines(keepends=True)[0])
    shutil.rmtree(root.path / "out/default")
    (root.path / ".runs/default/metrics.json").unlink()
    marker = Path(root.layout.marker(run_id))
    marker.write_text("default\n")
    marker.chmod(0o600)
    change(directory / "manifest.json", status="queued")
    return run_id, directory


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize("which", ["spec.json", "manifest.json"])
def test_a_run_of_a_later_version_is_listed_and_left_as_it_is(root: Root, which: str) -> None:
    run_id, directory = accepted(root)
    later = {"spec.json": {"schema": "pipeline-supervisor/spec/2"}, "manifest.json": {"version": 2}}
    change(directory / which, **later[which])
    before = {p: p.read_bytes() for p in directory.rglob("*") if p.is_file()}
    other = root.call("submit", "--", "true").out.strip()
    done = root.call("start", "--once")
    assert done.code == 0
    assert f"run {run_id} is left alone" in done.err
    assert "newer" in done.err
    assert {p: p.read_bytes() for p in directory.rglob("*") if p.is_file()} == before
    assert os.listdir(root.layout.accepted) == [run_id]
    rows = {r["run_id"]: r["status"] for r in root.call("status", "--json").json()["runs"]}
    assert rows == {run_id: "unknown_schema", other: "succeeded"}
    assert "unknown_schema" in root.call("status", run_id).out
    shown = root.call("show", run_id)
    assert (shown.code, "newer format" in shown.err) == (65, True)
    assert root.call("verify").code == 0


@pytest.mark.fault("R6")
@pytest.mark.parametrize("part", ["request", "spec"])
def test_request_of_a_later_version_stays_until_that_version_serves_it(
    root: Root, part: str
) -> None:
    run_id = root.call("submit", "--", "true").out.strip()
    (request,) = Path(root.layout.inbox).glob("*.json")
    before = request.read_bytes()
    if part == "request":
        change(request, schema="pipeline-supervisor/request/2")
    else:
        (spec,) = json.loads(before)["runs"]
        change(request, runs=[{**spec, "schema": "pipeline-supervisor/spec/2"}])
    later = request.read_bytes()
    other = root.call("submit", "--", "true").out.strip()
    done = root.call("start", "--once")
    assert done.code == 0
    assert done.err.count("a request stays in the inbox") == 1
    assert "newer format" in done.err
    assert request.read_bytes() == later
    assert [m["run_id"] for m in root.manifests()] == [other]
    assert root.call("verify").code == 0
    request.write_bytes(before)  # for a version that knows the format
    assert root.call("start", "--once").code == 0
    assert {m["run_id"]: m["status"] for m in root.manifests()} == {
        run_id: "succeeded",
        other: "succeeded",
    }
