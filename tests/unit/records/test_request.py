"""The names of requests: they say in which order requests are taken."""

from pathlib import Path

import pytest

from workers.records.ids import new_run_id
from workers.records.layout import Layout
from workers.records.request import Request, RequestKind, publish, request_paths

DAY_S = 86_400.0


def test_request_is_named_after_all_waiting_requests_at_every_millisecond(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(str(tmp_path))
    now_s = 1_764_000_000.0
    monkeypatch.setattr("time.time", lambda: now_s)
    monkeypatch.setattr("os.urandom", bytes)  # the lowest suffix: only the time can order
    publish(layout, Request(kind=RequestKind.CANCEL, run_ids=()))
    (first,) = request_paths(layout)
    Path(first).unlink()
    for milliseconds in range(1000):
        at_s = now_s + DAY_S + milliseconds / 1000
        waiting = Path(layout.inbox, new_run_id(epoch_s=at_s, entropy=b"\xff" * 4) + ".json")
        waiting.touch()
        path = publish(layout, Request(kind=RequestKind.CANCEL, run_ids=()))
        assert path > str(waiting)
        waiting.unlink()
        Path(path).unlink()
