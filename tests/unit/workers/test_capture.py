import array
import fcntl
import os
import re
import tempfile
import termios
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.output.capture import BoundedLog
from workers.output.masking import Mask
from workers.output.pipe import Pipe

GAP = re.compile(rb"\n?\[supervisor: (\d+) bytes dropped\]\n")
CHUNKS = st.lists(
    st.one_of(
        st.binary(max_size=700),
        st.text(max_size=200).map(str.encode),
        st.integers(1, 900).map(lambda n: b"x" * n),
    ),
    max_size=12,
)


def feed(log: BoundedLog, chunk: bytes, *, directly: bool) -> None:
    """Feed a chunk, or read it into the log's own buffer if possible."""
    while directly and chunk and (room := log.room()) is not None:
        for view in room:
            part, chunk = chunk[: len(view)], chunk[len(view) :]
            view[: len(part)] = part
            log.read_into_room(len(part))
    log.feed(chunk)


def capture(
    chunks: list[bytes], limit: int, *, refresh_after: int = 3, direct_after: int = 1
) -> tuple[bytes, BoundedLog]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "log")
        log = BoundedLog(str(path), limit, None)
        for index, chunk in enumerate(chunks):
            feed(log, chunk, directly=index % direct_after == 0)
            if index % refresh_after == 0:
                log.refresh()
                assert path.stat().st_size <= limit
        log.close()
        return path.read_bytes(), log


@settings(max_examples=400, deadline=None)
@given(CHUNKS, st.integers(256, 2000), st.integers(1, 4), st.integers(1, 3))
def test_head_tail_and_counts_equal_a_naive_reference(
    chunks: list[bytes], limit: int, refresh_after: int, direct_after: int
) -> None:
    whole = b"".join(chunks)
    data, log = capture(chunks, limit, refresh_after=refresh_after, direct_after=direct_after)
    assert log.seen_bytes == len(whole)
    assert len(data) <= limit
    if len(whole) <= limit:
        assert data == whole
        assert log.kept_bytes == len(whole)
        return
    found = [
        m
        for m in GAP.finditer(data)
        if whole.startswith(data[: m.start()]) and whole.endswith(data[m.end() :])
    ]
    assert found, "head and tail are those of the stream"
    gap = found[0]
    assert log.kept_bytes + int(gap[1]) == len(whole)
    given_up = max(4, limit // 8)
    assert gap.start() >= limit // 2 - given_up
    assert len(data) >= limit - given_up * 2 - 20


SECRET = b"s3cr3t-value"


@pytest.mark.fault("S1")
@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from([SECRET, SECRET[:5], SECRET[5:], b"x", b"s", b"\n", b"-"]), max_size=20
    ),
    st.lists(st.integers(0, 60), max_size=10),
)
def test_secret_is_hidden_however_the_stream_is_split(parts: list[bytes], cuts: list[int]) -> None:
    whole = b"".join(parts)
    mask = Mask((SECRET,))
    out, at = b"", 0
    for cut in sorted(cuts):
        out += mask.feed(whole[at : max(at, cut)])
        at = max(at, cut)
    out += mask.feed(whole[at:]) + mask.finish()
    assert out == whole.replace(SECRET, b"***")


def test_log_whose_write_failed_is_written_again_at_the_end(tmp_path: Path) -> None:
    import os

    path = tmp_path / "log"
    log = BoundedLog(str(path), 4096, None)
    real = os.pwrite
    os.pwrite = lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))  # type: ignore[assignment,misc]
    try:
        log.feed(b"lost for now\n")
    finally:
        os.pwrite = real
    assert log.error is not None
    log.feed(b"more\n")
    log.close()
    assert log.error is None
    assert path.read_bytes() == b"lost for now\nmore\n"


def test_capture_of_a_stage_takes_at_most_256_kib(tmp_path: Path) -> None:
    import tracemalloc

    from workers.records.limits import READ_BUFFER_BYTES

    chunk = memoryview(bytearray(b"y" * 16_384))
    masks = [Mask((b"hunter2-hunter2",)) for _ in range(2)]
    tracemalloc.start()
    try:
        buffer = bytearray(READ_BUFFER_BYTES)
        logs = [BoundedLog(str(tmp_path / f"{id(m)}"), 65_536, m) for m in masks]
        for _ in range(40):
            for log in logs:
                log.feed(chunk)
                log.refresh()
        for log in logs:
            log.close()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= 256 * 1024
    assert len(buffer) == READ_BUFFER_BYTES


def test_closing_a_log_twice_changes_nothing(tmp_path: Path) -> None:
    log = BoundedLog(str(tmp_path / "log"), 4096, None)
    log.feed(b"hello\n")
    log.close()
    log.close()
    assert (tmp_path / "log").read_bytes() == b"hello\n"


def test_log_that_cannot_be_created_still_counts_and_keeps_its_end(tmp_path: Path) -> None:
    log = BoundedLog(str(tmp_path / "none" / "log"), 4096, None)
    log.feed(b"hello\n")
    log.close()
    assert (log.seen_bytes, log.kept_bytes, log.end(3)) == (6, 0, b"lo\n")
    assert log.error is not None


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.binary(min_size=4, max_size=9), min_size=1, max_size=3),
    st.lists(st.integers(0, 3), max_size=20),
    st.lists(st.integers(0, 90), max_size=10),
)
def test_masked_stream_equals_the_whole_masked_at_once(
    secrets: list[bytes], order: list[int], cuts: list[int]
) -> None:
    parts = [*secrets, b"-"]
    whole = b"".join(parts[i % len(parts)] for i in order)
    ordered = tuple(sorted(set(secrets), key=len, reverse=True))
    at_once = Mask(ordered)
    expected = at_once.feed(whole) + at_once.finish()
    mask, out, at = Mask(ordered), b"", 0
    for cut in sorted(cuts):
        out += mask.feed(whole[at : max(at, cut)])
        at = max(at, cut)
    out += mask.feed(whole[at:]) + mask.finish()
    assert out == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40_000), min_size=1, max_size=60), st.integers(0, 3))
def test_bytes_discarded_unread_change_nothing_in_the_log(chunks: list[bytes], lag: int) -> None:
    """The same stream through a pipe, once with skipping and once read whole."""
    logs = []
    for splices in (True, False):
        with tempfile.TemporaryDirectory() as directory:
            log = BoundedLog(str(Path(directory, "log")), 2048, None)
            pipe = Pipe(log)
            pipe._splices = splices
            buffer = memoryview(bytearray(65_536))
            os.set_blocking(pipe.write_fd, False)
            for index, chunk in enumerate(chunks):
                os.write(pipe.write_fd, chunk * 8)
                if index % (lag + 1) == lag:
                    pipe.pump(buffer)
                while room(pipe.read_fd) < 400_000:
                    pipe.pump(buffer)
            pipe.close_write()
            while not pipe.ended:
                pipe.pump(buffer)
            pipe.close()
            logs.append((Path(directory, "log").read_bytes(), log.seen_bytes, log.kept_bytes))
    assert logs[0] == logs[1]
    assert logs[0][1] == sum(map(len, chunks)) * 8


def room(fd: int) -> int:
    """How many bytes a pipe still takes, at the least."""
    waiting = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, waiting)
    return fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) - int(waiting[0])


def test_flood_is_discarded_in_the_kernel(tmp_path: Path) -> None:
    log = BoundedLog(str(tmp_path / "log"), 2048, None)
    pipe = Pipe(log)
    if not pipe._splices:
        pytest.skip("this platform cannot splice")
    buffer = memoryview(bytearray(65_536))
    os.write(pipe.write_fd, b"a" * 4096)
    assert pipe.pump(buffer) == 4096
    os.write(pipe.write_fd, b"b" * 500_000)
    assert pipe.pump(buffer) > 400_000, "more than the buffer holds"
    pipe.close_write()
    while not pipe.ended:
        pipe.pump(buffer)
    pipe.close()
    data = (tmp_path / "log").read_bytes()
    assert data.startswith(b"a" * 1024 + b"\n[supervisor: ")
    assert data.endswith(b"b" * 900)
    gap = GAP.search(data)
    assert gap is not None
    assert log.seen_bytes == log.kept_bytes + int(gap[1]) == 504_096
