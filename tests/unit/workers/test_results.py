from pathlib import Path

import pytest

from workers.output.capture import BoundedLog
from workers.output.masking import Mask
from workers.stages.results import (
    ProcessResult,
    TryResult,
    clean,
    failure_message,
    stage_facts,
)


def log(path: Path, data: bytes) -> BoundedLog:
    written = BoundedLog(str(path), 4096, None)
    written.feed(data)
    written.close()
    return written


def tried(tmp_path: Path, stdout: bytes, stderr: bytes, **values: object) -> TryResult:
    return TryResult(
        about={"stage": "s", "index": 1, "try": 1},
        process=ProcessResult(**values),  # type: ignore[arg-type]
        stdout=log(tmp_path / "out", stdout),
        stderr=log(tmp_path / "err", stderr),
        reason="command-failed",
    )


@pytest.mark.parametrize(
    ("stdout", "stderr", "said"),
    [
        (b"out\n", b"first\nlast\n\n  \n", "exit code 1: last"),
        (b"out\n", b"\n", "exit code 1: out"),
        (b"", b"", "exit code 1"),
        (b"", b"\x1b[31mred\x1b[0m\x1b]0;title\x07 \xff\n", "exit code 1: red \ufffd"),
        (b"", "\u202etxt.exe\u0000".encode(), "exit code 1: txt.exe"),
    ],
)
def test_summary_is_the_exit_code_and_the_last_visible_line(
    tmp_path: Path, stdout: bytes, stderr: bytes, said: str
) -> None:
    assert failure_message(tried(tmp_path, stdout, stderr, exit_code=1), None) == said


def test_summary_has_at_most_240_characters(tmp_path: Path) -> None:
    long = tried(tmp_path, b"", b"x" * 3000, exit_code=1)
    facts = stage_facts(long, "failed", summary=failure_message(long, None))
    assert len(facts["summary"]) == 240


def test_summary_hides_secrets_of_a_command_that_did_not_start(tmp_path: Path) -> None:
    failed = tried(tmp_path, b"", b"", message="hunter2-x: command not found")
    assert failure_message(failed, Mask((b"hunter2-x",))) == "***: command not found"


def test_clean_text_is_one_line_of_printable_characters() -> None:
    assert clean("a\nb\x9bc\x7f\u2028d") == "a b c  d"
