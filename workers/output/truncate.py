"""Cutting text and streams: between characters, and never inside a terminal's escape sequence.

A sequence that is cut in two spoils what a terminal shows after the cut: its rest appears as text,
or what follows is swallowed. Known sequences are CSI (colours, cursor), the strings OSC, DCS, SOS,
PM and APC (titles, links), and the short ones (ECMA-48). A sequence that is longer than
SEQUENCE_LIMIT_BYTES, or contains an invalid control character, is taken for noise, so garbage costs
little of a log.

Limits of error files are in bytes of JSON, which writes a quote as 2 bytes and a control character
as 6. So the cost of each character is counted.
"""

import re
from typing import Final

from workers.records.dataclass import dataclass
from workers.records.json_text import readable

SEQUENCE_LIMIT_BYTES: Final = 1024  # colours take tens of bytes, a link its address
_STRING: Final = rb"\x1b[\]PX^_][^\x00-\x1f\x7f]*"
_WHOLE: Final = (
    rb"\x1b\[[0-?]*[ -/]*[@-~]|" + _STRING + rb"(?:\x07|\x1b\\)|\x1b[ -/]*[0-OQ-WYZ\\`-~]"
)
_BEGUN: Final = rb"\x1b(?:\[[0-?]*[ -/]*)?\Z|" + _STRING + rb"\x1b?\Z|\x1b[ -/]+\Z"
_SEQUENCE: Final = re.compile(_WHOLE + rb"|(?P<begun>" + _BEGUN + rb")")
_SHORT_ESCAPES: Final = frozenset('"\\\b\f\n\r\t')
_LONE_FIRST: Final = 0xDC80  # "surrogateescape" represents the byte 0x80 so, and 0xff is the last
_LONE_LAST: Final = 0xDCFF


def whole_characters(data: bytes | bytearray) -> int:
    """The length of ``data`` without a UTF-8 character that is cut off at its end."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return len(data) - back if length > back else len(data)
    return len(data)


def first_character(data: bytes) -> int:
    """The offset of the first whole UTF-8 character of ``data``, at most 3."""
    for index in range(min(3, len(data))):
        if data[index] & 0xC0 != 0x80:
            return index
    noise = len(data) > 3 and data[3] & 0xC0 == 0x80  # no character is that long
    return 0 if noise else min(3, len(data))


def head_end(data: bytes | bytearray, limit_bytes: int = SEQUENCE_LIMIT_BYTES) -> int:
    """The offset at which to end a head that would be cut after ``data``.

    Args:
        data: the beginning of a stream.
        limit_bytes: lose at most this many bytes.
    """
    window = bytes(data[max(0, len(data) - limit_bytes) :])
    for match in _SEQUENCE.finditer(window):
        if match["begun"] is not None:
            return len(data) - len(window) + match.start()
    return whole_characters(data)


def tail_start(data: bytes, at: int, limit_bytes: int = SEQUENCE_LIMIT_BYTES) -> int:
    """The offset at which to begin a tail that would be cut before ``at``.

    Args:
        data: some of the stream before the cut, and the tail.
        at: the offset of the cut in ``data``.
        limit_bytes: lose at most this many bytes, and search this many before the cut.
    """
    begin = max(0, at - limit_bytes)
    for match in _SEQUENCE.finditer(data[begin : at + limit_bytes]):
        first, behind = begin + match.start(), begin + match.end()
        if first >= at:
            break
        if behind > at and match["begun"] is None:
            return behind
    return at + first_character(data[at : at + 4])


def json_cost(char: str) -> int:
    """The size in bytes of a character in a JSON string that is written as UTF-8."""
    if char in _SHORT_ESCAPES:
        return 2
    return 6 if char < " " else len(char.encode("utf-8", "replace"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTail:
    r"""The end of a stream as text.

    Attributes:
        text: a byte that is not UTF-8 is spelled ``\xNN``.
        stream_bytes: how many bytes of the stream the text represents.
        json_bytes: the text's size in JSON, without quotes.
    """

    text: str
    stream_bytes: int
    json_bytes: int


def tail_of(data: bytes, *, is_cut: bool, limit_bytes: int, json_limit_bytes: int) -> TextTail:
    """Convert the end of a stream to text.

    Args:
        data: its last bytes; more than the limits allow, to see whether a cut would be inside an
            escape sequence.
        is_cut: bytes before these are missing, so they may begin inside a character.
        limit_bytes: size limit of the text as UTF-8.
        json_limit_bytes: size limit of the text in JSON, without quotes.
    """
    at = max(0, len(data) - limit_bytes)
    if at or is_cut:
        at = tail_start(data, at)
    chars: list[tuple[str, int, int]] = []
    used = size = cost = 0
    for shown, stream_bytes, json_bytes in map(
        _measure, reversed(data[at:].decode("utf-8", "surrogateescape"))
    ):
        size, cost = size + len(shown.encode()), cost + json_bytes
        if size > limit_bytes or cost > json_limit_bytes:
            at = tail_start(data, len(data) - used)
            break
        chars.append((shown, stream_bytes, json_bytes))
        used += stream_bytes
    while used > len(data) - at:
        used -= chars.pop()[1]
    return TextTail(
        text="".join(shown for shown, _, _ in reversed(chars)),
        stream_bytes=used,
        json_bytes=sum(json_bytes for _, _, json_bytes in chars),
    )


def _measure(char: str) -> tuple[str, int, int]:
    """A character as shown, its bytes in the stream, and its bytes in JSON."""
    code = ord(char)
    if _LONE_FIRST <= code <= _LONE_LAST:
        return f"\\x{code - 0xDC00:02x}", 1, 5
    return char, len(char.encode()), json_cost(char)


def head_of(text: str, json_limit_bytes: int) -> str:
    """The beginning of a text that takes at most ``json_limit_bytes`` in JSON."""
    text = readable(text)
    cost = 0
    for index, char in enumerate(text):
        cost += json_cost(char)
        if cost > json_limit_bytes:
            return text[:index]
    return text
