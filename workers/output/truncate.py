"""The two ends of a text, cut to fit: at whole characters, and measured as JSON writes them.

JSON swells a quote to two bytes and a control character to six, so a limit in bytes on disk can
only be held by counting what each character costs.
"""

from typing import Final

from workers.output.safe_boundaries import tail_start
from workers.records.dataclass import dataclass
from workers.records.utf8 import readable

_SHORT_ESCAPES: Final = frozenset('"\\\b\f\n\r\t')
_LONE_FIRST: Final = 0xDC80  # "surrogateescape" spells the byte 0x80 so, and 0xff is the last
_LONE_LAST: Final = 0xDCFF


def json_cost(char: str) -> int:
    """How many bytes a character takes in a JSON string that is written as UTF-8."""
    if char in _SHORT_ESCAPES:
        return 2
    return 6 if char < " " else len(char.encode("utf-8", "replace"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTail:
    r"""The end of a stream.

    Attributes:
        text: a byte that is no UTF-8 stands there as ``\xNN``.
        told_bytes: how many bytes of the stream the text tells.
        json_bytes: what the text costs in JSON.
    """

    text: str
    told_bytes: int
    json_bytes: int


def tail_of(data: bytes, *, is_cut: bool, limit_bytes: int, json_limit_bytes: int) -> TextTail:
    """Make text of the end of a stream.

    Args:
        data: its last bytes; more of them than the limits let through show whether a cut would
            fall within an escape sequence.
        is_cut: bytes before these are missing, so they may begin within a character.
        limit_bytes: of the text as UTF-8.
        json_limit_bytes: of the text as JSON writes it, without its quotes.
    """
    at = max(0, len(data) - limit_bytes)
    if at or is_cut:
        at = tail_start(data, at)
    chars: list[_Char] = []
    told = size = cost = 0
    for char in map(_char, reversed(data[at:].decode("utf-8", "surrogateescape"))):
        size, cost = size + len(char.shown.encode()), cost + char.json_bytes
        if size > limit_bytes or cost > json_limit_bytes:
            at = tail_start(data, len(data) - told)
            break
        chars.append(char)
        told += char.told_bytes
    while told > len(data) - at:
        told -= chars.pop().told_bytes
    return TextTail(
        text="".join(char.shown for char in reversed(chars)),
        told_bytes=told,
        json_bytes=sum(char.json_bytes for char in chars),
    )


@dataclass(frozen=True, slots=True)
class _Char:
    """One character as it is shown, how many bytes of the stream it is, and its cost in JSON."""

    shown: str
    told_bytes: int
    json_bytes: int


def _char(char: str) -> _Char:
    code = ord(char)
    if _LONE_FIRST <= code <= _LONE_LAST:
        return _Char(f"\\x{code - 0xDC00:02x}", 1, 5)
    return _Char(char, len(char.encode()), json_cost(char))


def head_of(text: str, json_limit_bytes: int) -> str:
    """Keep the beginning of a text that costs at most so many bytes in JSON."""
    text = readable(text)
    cost = 0
    for index, char in enumerate(text):
        cost += json_cost(char)
        if cost > json_limit_bytes:
            return text[:index]
    return text
