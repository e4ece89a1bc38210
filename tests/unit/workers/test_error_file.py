import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.output.error_file import StageFailure, error_bytes
from workers.records.limits import Limits

HOSTILE = st.one_of(
    st.binary(max_size=9000),
    st.text(max_size=3000).map(lambda t: t.encode("utf-8", "surrogatepass")),
    st.sampled_from([b"\x00", b"\x1b", b'"', b"\\", "\U0001f600".encode(), b"\xff", b"x"]).map(
        lambda unit: unit * 9000
    ),
)


def failure(command: str = "make", message: str | None = "m") -> StageFailure:
    return StageFailure(
        run_id="r",
        task_id="t",
        index=1,
        stage_id="s",
        command=command,
        reason="command-failed",
        message=message,
        exit_code=1,
        signal=None,
        created_at="2025-10-31T22:56:35.120Z",
    )


@pytest.mark.fault("V8")
@settings(max_examples=300, deadline=None)
@given(HOSTILE, HOSTILE, st.text(max_size=3000), st.text(max_size=3000))
def test_error_file_stays_small_for_any_input(
    stdout: bytes, stderr: bytes, command: str, message: str
) -> None:
    data = error_bytes(
        failure(command, message),
        stdout=stdout,
        stderr=stderr,
        seen=(len(stdout) + 5, len(stderr)),
        limits=Limits(),
        mask=None,
    )
    assert len(data) <= 10_000
    details = json.loads(data)["details"]
    for stream in ("stdout", "stderr"):
        assert len(details[stream].encode()) <= 8192
    assert details["stdout_truncated"] is True


def test_error_file_keeps_the_end_and_cuts_stdout_first() -> None:
    data = error_bytes(
        failure(),
        stdout=b"\x01" * 8000 + b"end of out",
        stderr=b"e" * 7000 + b"end of err",
        seen=(8010, 7010),
        limits=Limits(),
        mask=None,
    )
    details = json.loads(data)["details"]
    assert details["stdout"].endswith("end of out")
    assert details["stderr"] == "e" * 7000 + "end of err"
    assert details["stderr_truncated"] is False
