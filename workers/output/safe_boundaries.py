"""Where a stream may be cut: between characters, and never within a terminal's escape sequence.

A sequence that is cut in two spoils what a terminal shows behind the cut: its rest appears as text,
or what follows is swallowed. Known are CSI (colours, cursor), the strings OSC, DCS, SOS, PM and APC
(titles, links), and the short ones (ECMA-48). What is longer than SEQUENCE_LIMIT_BYTES, or holds a
control character where none may stand, is taken for noise, so that garbage costs little of a log.
"""

import re
from typing import Final

SEQUENCE_LIMIT_BYTES: Final = 1024  # colours take tens of bytes, a link its address
_STRING: Final = rb"\x1b[\]PX^_][^\x00-\x1f\x7f]*"
_WHOLE: Final = (
    rb"\x1b\[[0-?]*[ -/]*[@-~]|" + _STRING + rb"(?:\x07|\x1b\\)|\x1b[ -/]*[0-OQ-WYZ\\`-~]"
)
_BEGUN: Final = rb"\x1b(?:\[[0-?]*[ -/]*)?\Z|" + _STRING + rb"\x1b?\Z|\x1b[ -/]+\Z"
_SEQUENCE: Final = re.compile(_WHOLE + rb"|(?P<begun>" + _BEGUN + rb")")


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


def head_end(data: bytes | bytearray, limit_bytes: int = SEQUENCE_LIMIT_BYTES) -> int:
    """Where a beginning that is cut off behind ``data`` should end.

    Args:
        data: the beginning of a stream.
        limit_bytes: at most so many bytes are given up.
    """
    window = bytes(data[max(0, len(data) - limit_bytes) :])
    for match in _SEQUENCE.finditer(window):
        if match["begun"] is not None:
            return len(data) - len(window) + match.start()
    return whole_characters(data)


def tail_start(data: bytes, at: int, limit_bytes: int = SEQUENCE_LIMIT_BYTES) -> int:
    """Where an end that is cut off before ``at`` should begin.

    Args:
        data: some of the stream before the cut, and the end.
        at: where in ``data`` the cut is.
        limit_bytes: at most so many bytes are given up, and looked at before the cut.
    """
    begin = max(0, at - limit_bytes)
    window = data[begin : at + limit_bytes]
    for match in _SEQUENCE.finditer(window):
        first, behind = begin + match.start(), begin + match.end()
        if first >= at:
            break
        if behind > at and match["begun"] is None:
            return behind
    return at + first_character(data[at : at + 4])
