"""The two ends of a text, cut to fit: between characters, and measured as JSON writes them.

JSON swells a quote to two bytes and a control character to six, so a limit in bytes on disk can
only be held by counting what each character costs.
"""

from dataclasses import dataclass
from typing import Final

_SHORT_ESCAPES: Final = frozenset('"\\\b\f\n\r\t')
_LONE_FIRST: Final = 0xDC80  # "surrogateescape" spells the byte 0x80 so, and 0xff is the last
_LONE_LAST: Final = 0xDCFF


def whole_characters(data: bytes | bytearray) -> int:
    """How many bytes of ``data`` are left when a UTF-8 character cut off at its end is removed."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return len(data) - back if length > back else len(data)
    return len(data)


def first_character(data: bytes) -> int:
    """Where the first whole UTF-8 character of ``data`` begins, at most 3 bytes in."""
    for index in range(min(3, len(data))):
        if data[index] & 0xC0 != 0x80:
            return index
    noise = len(data) > 3 and data[3] & 0xC0 == 0x80  # no character is that long
    return 0 if noise else min(3, len(data))


def json_cost(char: str) -> int:
    """How many bytes a character takes in a JSON string that is written as UTF-8."""
    if char in _SHORT_ESCAPES:
        return 2
    return 6 if char < " " else len(char.encode("utf-8", "replace"))


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    r"""The end of a stream.

    Attributes:
        text: a byte that is no UTF-8 stands there as ``\xNN``.
        told_bytes: how many bytes of the stream the text tells.
        json_bytes: what the text costs in JSON.
    """

    text: str
    told_bytes: int
    json_bytes: int


def end_of(data: bytes, *, is_cut: bool, limit_bytes: int, json_limit_bytes: int) -> End:
    """Make text of the end of a stream.

    Args:
        data: its last bytes.
        is_cut: bytes before these are missing, so they may begin within a character.
        limit_bytes: of the text as UTF-8.
        json_limit_bytes: of the text as JSON writes it, without its quotes.
    """
    if len(data) > limit_bytes:
        data, is_cut = data[len(data) - limit_bytes :], True
    if is_cut:
        data = data[first_character(data) :]
    parts: list[str] = []
    told = size = cost = 0
    for char in reversed(data.decode("utf-8", "surrogateescape")):
        code = ord(char)
        if _LONE_FIRST <= code <= _LONE_LAST:
            shown, told_here, size_here, cost_here = f"\\x{code - 0xDC00:02x}", 1, 4, 5
        else:
            shown, told_here = char, len(char.encode())
            size_here, cost_here = told_here, json_cost(char)
        if size + size_here > limit_bytes or cost + cost_here > json_limit_bytes:
            break
        parts.append(shown)
        told, size, cost = told + told_here, size + size_here, cost + cost_here
    return End(text="".join(reversed(parts)), told_bytes=told, json_bytes=cost)


def begin_of(text: str, json_limit_bytes: int) -> str:
    """Keep the beginning of a text that costs at most so many bytes in JSON."""
    text = text.encode("utf-8", "backslashreplace").decode()
    cost = 0
    for index, char in enumerate(text):
        cost += json_cost(char)
        if cost > json_limit_bytes:
            return text[:index]
    return text
