from hypothesis import given
from hypothesis import strategies as st

from workers.output.capture import RingBuffer


@given(st.integers(1, 40), st.lists(st.binary(max_size=100), max_size=20), st.integers(0, 60))
def test_ring_buffer_holds_the_last_bytes_however_they_arrive(
    size: int, chunks: list[bytes], asked: int
) -> None:
    ring = RingBuffer(size)
    for index, chunk in enumerate(chunks):
        if index % 2 and len(chunk) <= size:
            first, second = ring.room()
            begin, rest = chunk[: len(first)], chunk[len(first) :]
            first[: len(begin)], second[: len(rest)] = begin, rest
            ring.wrote(len(chunk))
        else:
            ring.put(chunk)
    whole = b"".join(chunks)
    older, newer = ring.last(asked)
    kept = whole[-size:]
    assert bytes(older) + bytes(newer) == (kept[-asked:] if asked else b"")
    assert ring.filled_bytes == min(size, len(whole))
