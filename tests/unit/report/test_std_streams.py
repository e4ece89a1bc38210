"""Standard streams that do not block, refuse writes or take parts; messages of any length."""

import io
import itertools
import socket
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.report.text.sanitize import (
    LINE_LIMIT_CHARS,
    LINES_LIMIT_COUNT,
    OutputCleaner,
    bounded,
    clean_output,
)
from supervisor.report.text.std_streams import WaitingFile, is_missing

PARTS = st.lists(
    st.sampled_from(
        ["grün", "日本", "\x1b[31m", "\x1b[0m", "\r\n", "\r", "\x1b]0;t\x07", "\n", "a"]
    ),
    max_size=12,
)


@pytest.mark.fault("P35")
def test_non_blocking_descriptor_gets_every_byte() -> None:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    text = "".join(f"{number:09}\n" for number in range(100_000))
    got = bytearray()

    def read() -> None:
        while part := ours.recv(65_536):
            got.extend(part)

    reader = threading.Thread(target=read)
    with ours:
        with theirs:
            raw = WaitingFile(theirs.fileno(), "stdout", is_missing=False)
            stream = io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8")
            reader.start()
            stream.write(text)
            stream.flush()
        reader.join()
    assert got.decode() == text


@pytest.mark.fault("P35")
def test_refused_write_names_the_stream() -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        raw = WaitingFile(full.fileno(), "stderr", is_missing=False)
        with pytest.raises(OSError, match="stderr") as caught:
            raw.write(b"x")
    assert caught.value.filename == "stderr"


def test_closed_stream_is_not_taken_for_dev_null(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        assert not is_missing(file)
        raw = WaitingFile(file.fileno(), "stdout", is_missing=True)
        assert is_missing(io.TextIOWrapper(io.BufferedWriter(raw)))


@pytest.mark.fault("S7")
@given(PARTS, st.lists(st.integers(0, 80), max_size=8))
def test_cleaned_output_is_independent_of_the_split(parts: list[str], cuts: list[int]) -> None:
    data = "".join(parts).encode()
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    cleaner = OutputCleaner()
    shown = "".join(cleaner.feed(data[a:b]) for a, b in itertools.pairwise(places))
    assert shown + cleaner.finish() == clean_output(data.decode())


def test_output_that_ends_within_a_character_is_shown() -> None:
    cleaner = OutputCleaner()
    assert cleaner.feed(b"gr\xc3") == "gr"
    assert cleaner.finish() == "\\xc3"


@pytest.mark.fault("S20")
def test_long_message_is_cut_in_its_middle_and_counts_what_is_missing() -> None:
    line = "begin" + "x" * 70_000 + "end"
    told = bounded(line)
    assert told.startswith("begin")
    assert told.endswith("end")
    assert f" {len(line) - LINE_LIMIT_CHARS} characters left out " in told
    assert bounded("/" + "d" * 4_095) == "/" + "d" * 4_095, "a whole path fits"
    lines = bounded("\n".join(map(str, range(10_000)))).split("\n")
    assert lines[LINES_LIMIT_COUNT // 2] == f"... {10_000 - LINES_LIMIT_COUNT} lines left out ..."
    assert lines[-1] == "9999"
