"""Records that somebody edited: told, read without harm, and put right where the journals can."""

from collections.abc import Callable
from typing import Any

import pytest

from supervisor.cli import run
from tests.integration.broken import change, history, of, replace, state
from tests.root import Root

ERROR = "errors/01-s.json"
RECORDS = ["spec.json", "manifest.json", "journal.ndjson", ".heartbeat", ERROR]
VIEWS = ["out/default/state.json", "out/default/history.ndjson", ".runs/default/metrics.json"]
CONTENT = [b"", b"{}", b"[" * 9000, b'{"runs": 5, "totals": []}\n']


@pytest.mark.fault("F15", "C17")
@pytest.mark.parametrize("content", CONTENT)
@pytest.mark.parametrize("name", [*RECORDS, *VIEWS])
def test_no_content_of_a_record_ends_a_reader_with_a_traceback(
    broken: Root, name: str, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = broken.path / name if name in VIEWS else of(broken, "bad", name)
    path.write_bytes(content)
    run_id = path.parent.name if name in RECORDS[:4] else path.parent.parent.name
    root = ["--root", str(broken.path)]
    readers = [["verify"], ["status"], ["status", "--json"], ["show", "latest"]]
    if name in RECORDS:
        readers += [["show", run_id], ["logs", run_id], ["status", run_id]]
    for words in readers:
        code = run([*words, *root])
        shown = capsys.readouterr()
        assert code in (0, 3, 65), f"{words}: {code}: {shown.err}"
        assert "Traceback" not in shown.err


@pytest.mark.fault("C17")
@pytest.mark.parametrize(
    "damage",
    [
        lambda s: s["runs"][0].update(status="cancelled"),
        lambda s: s["runs"].pop(),
        lambda s: s["totals"].update(runs=99),
        lambda s: s.clear(),
    ],
    ids=["a run", "the newest run", "the totals", "everything"],
)
def test_a_state_that_was_edited_is_told_and_the_next_start_puts_it_right(
    broken: Root, damage: Callable[[Any], object]
) -> None:
    right = state(broken).read_bytes()
    change(state(broken), damage)
    assert broken.call("verify").code == 65
    assert broken.call("start", "--once").code == 0
    assert state(broken).read_bytes() == right
    assert broken.call("verify").code == 0


@pytest.mark.fault("C17")
def test_a_state_that_was_deleted_is_there_again_after_the_next_start(broken: Root) -> None:
    right = state(broken).read_bytes()
    state(broken).unlink()
    assert broken.call("start", "--once").code == 0
    assert state(broken).read_bytes() == right


@pytest.mark.fault("C17")
def test_a_history_that_was_edited_is_told_and_the_journal_is_what_readers_see(
    broken: Root,
) -> None:
    replace(history(broken), '"status": "failed"', '"status": "succeeded"')
    change(of(broken, "bad", "manifest.json"), lambda m: m.update(status="succeeded"))
    assert broken.call("start", "--once").code == 0
    found = broken.call("verify")
    assert (found.code, "differs from the journal in status" in found.out) == (65, True)
