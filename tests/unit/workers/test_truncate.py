import json

from hypothesis import given, settings
from hypothesis import strategies as st

from workers.output.truncate import head_of, tail_of

STREAMS = st.one_of(
    st.binary(max_size=400),
    st.text(max_size=200).map(str.encode),
    st.sampled_from([b"\x00", b'"', b"\n", b"\xff", "\U0001f600".encode()]).map(lambda u: u * 90),
)


@settings(max_examples=400)
@given(STREAMS, st.booleans(), st.integers(0, 300), st.integers(0, 300))
def test_tail_respects_both_limits_and_counts_its_bytes(
    data: bytes, is_cut: bool, limit: int, json_limit: int
) -> None:
    end = tail_of(data, is_cut=is_cut, limit_bytes=limit, json_limit_bytes=json_limit)
    assert len(end.text.encode()) <= limit
    assert end.json_bytes <= json_limit
    assert end.json_bytes == len(json.dumps(end.text, ensure_ascii=False).encode()) - 2
    assert data.endswith(data[len(data) - end.stream_bytes :])
    kept = data[len(data) - end.stream_bytes :]
    spelled = "".join(
        f"\\x{ord(c) - 0xDC00:02x}" if 0xDC80 <= ord(c) <= 0xDCFF else c
        for c in kept.decode("utf-8", "surrogateescape")
    )
    assert end.text == spelled


@given(STREAMS)
def test_tail_without_limits_is_complete(data: bytes) -> None:
    end = tail_of(data, is_cut=False, limit_bytes=9_999, json_limit_bytes=9_999)
    assert end.stream_bytes == len(data)


@given(st.text(alphabet=st.characters(), max_size=100), st.integers(0, 200))
def test_head_fits_and_is_a_prefix(text: str, limit: int) -> None:
    begin = head_of(text, limit)
    assert len(json.dumps(begin, ensure_ascii=False).encode()) - 2 <= limit
    assert text.encode("utf-8", "backslashreplace").decode().startswith(begin)
