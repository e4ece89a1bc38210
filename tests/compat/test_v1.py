"""Records of released formats are read for ever: written once by a real run, never edited since.

Keys of a later version were added on purpose where a reader must ignore them.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from supervisor.store.state_store import TaskStateStore
from workers.records.heartbeat import last_beat
from workers.records.history import last_lines, read_lines
from workers.records.journal import JournalReader, verdict_in
from workers.records.layout import Layout
from workers.records.limits import Limits
from workers.records.manifest import fold_manifest, observed_in
from workers.records.spec import load_spec

DATA = Path(__file__).parent / "data" / "v1"


def stored(name: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((DATA / name).read_text())
    return value


@pytest.mark.fault("C16")
def test_a_journal_folds_into_the_manifest_that_was_made_of_it() -> None:
    spec = load_spec(str(DATA / "spec.json"))
    reader = JournalReader(str(DATA / "journal.ndjson"))
    facts = reader.read_new()
    assert reader.bad_lines_count == 0
    assert verdict_in(facts) is not None
    manifest = stored("manifest.json")
    again = fold_manifest(spec, facts, layout=Layout("/r"), observed=observed_in(manifest))
    ours, theirs = again["extensions"], manifest["extensions"]
    later = {key: ours.pop(key) for key in set(ours) - set(theirs)}
    assert again == manifest
    assert not any(later.values()), "what a later version tells, an old journal does not hold"


@pytest.mark.fault("C16")
def test_keys_of_a_later_version_disturb_nobody(tmp_path: Path) -> None:
    spec, journal = stored("spec.json"), (DATA / "journal.ndjson").read_text()
    spec["later"] = {"x": [1]}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    later = journal.replace('"event": "run_started"', '"event": "run_started", "later": 1')
    invented = {"seq": 99, "at": "2026-01-01T00:00:00.000Z", "mono_s": 1, "event": "invented"}
    later += json.dumps({**invented, "by": "later"}) + "\n"
    (tmp_path / "journal.ndjson").write_text(later)
    assert load_spec(str(tmp_path / "spec.json")) == load_spec(str(DATA / "spec.json"))
    facts = JournalReader(str(tmp_path / "journal.ndjson")).read_new()
    assert facts[-1].event == "invented"
    assert verdict_in(facts) is not None


@pytest.mark.fault("C16")
def test_a_history_and_its_state_are_continued(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    for name, path in (
        ("history.ndjson", layout.history("compat")),
        ("state.json", layout.state("compat")),
        ("metrics.json", layout.metrics("compat")),
    ):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(DATA / name, path)
    lines = last_lines(layout.history("compat"), 1000)
    assert lines == stored("state.json")["runs"]
    store = TaskStateStore(layout, "compat", history_limit=1000, limits=Limits())
    store.append([{**lines[-1], "runId": "2026-01-01T00-00-00-000Z-00000000"}])
    store.write_snapshot()
    state = json.loads(Path(layout.state("compat")).read_text())
    assert state["totals"]["runs"] == stored("state.json")["totals"]["runs"] + 1
    assert [line for _, line in read_lines(layout.history("compat"))] == state["runs"]


def test_a_heartbeat_is_read() -> None:
    beat = last_beat(str(DATA / "heartbeat"))
    assert beat is not None
    assert beat.endswith("Z")
