"""A journal's line counts as a fact only if it has data of the types of its event."""

import json
from typing import Any

import pytest

from workers.records.journal import parse_fact
from workers.records.typed_errors import BadRecordError

HEAD = {"seq": 1, "at": "2026-01-01T00:00:00.000Z", "mono_s": 1.0, "by": "worker"}
VERDICT = {"event": "verdict", "status": "failed", "detail": "x", "leftover_pids": [7]}
ENDED = {"event": "stage_ended", "stage": "s", "status": "failed", "stdout": {"seen_bytes": 1}}
CHILD = {"event": "child_started", "stage": "s", "sub_run_id": "2026-01-01T00-00-00-000Z-00000000"}


def line(data: dict[str, Any]) -> bytes:
    return json.dumps({**HEAD, **data}).encode()


@pytest.mark.parametrize("data", [VERDICT, ENDED, CHILD, {"event": "invented", "status": [1]}])
def test_valid_data_or_an_unknown_event_is_a_fact(data: dict[str, Any]) -> None:
    assert parse_fact(line(data), "j").event == data["event"]


@pytest.mark.fault("S13", "F15")
@pytest.mark.parametrize(
    ("data", "key"),
    [
        ({**VERDICT, "status": "in_progress"}, "status"),
        ({**VERDICT, "status": ["failed"]}, "status"),
        ({**VERDICT, "detail": 5}, "detail"),
        ({**VERDICT, "duration_s": -1}, "duration_s"),
        ({**VERDICT, "heartbeat": {"ok": "many"}}, "heartbeat"),
        ({**VERDICT, "leftover_pids": ["7"]}, "leftover_pids"),
        ({**ENDED, "stage": "../../x"}, "stage"),
        ({**ENDED, "exit_code": True}, "exit_code"),
        ({**ENDED, "stdout": {"seen_bytes": "x"}}, "stdout"),
        ({**ENDED, "error_file": 1}, "error_file"),
        ({**CHILD, "sub_run_id": "../x"}, "sub_run_id"),
        ({"event": "run_started", "identity": 5}, "identity"),
    ],
)
def test_invalid_data_is_no_fact_and_its_key_is_named(data: dict[str, Any], key: str) -> None:
    with pytest.raises(BadRecordError, match=key):
        parse_fact(line(data), "j")
