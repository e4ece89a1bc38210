"""Make foreign text safe for a terminal. No other way leads there.

Printable text, newlines and tabs stay, and on request colours (SGR sequences). Every other control
character, escape sequence and bidirectional override is written in hexadecimal.
"""

import codecs
import re
from typing import Final

LINE_LIMIT_CHARS: Final = 6_000  # of a message: fits a path of the maximum length (4,096)
LINES_LIMIT_COUNT: Final = 200  # of a message

_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069\ud800-\udfff]"
)
_INCOMPLETE: Final = re.compile("(?:\x1b(?:\\[[0-9;]{0,32})?|\r)\\Z")
_SGR: Final = re.compile("\x1b\\[[0-9;]{0,32}m")


def clean(text: str) -> str:
    """Escape control characters; newlines and tabs stay."""
    return _UNSAFE.sub(_escape, text)


def clean_line(text: str) -> str:
    """Escape control characters, and replace newlines and tabs by blanks."""
    return clean(text).replace("\n", " ").replace("\t", " ")


def clean_output(text: str) -> str:
    """Escape control characters in a command's output; colours stay, CRLF becomes a newline."""
    parts = []
    at = 0
    for match in _SGR.finditer(text):
        parts += [clean(text[at : match.start()].replace("\r\n", "\n")), match.group()]
        at = match.end()
    parts.append(clean(text[at:].replace("\r\n", "\n")))
    return "".join(parts)


def without_colours(text: str) -> str:
    """Escape control characters in a command's output, and remove its colours."""
    return clean(_SGR.sub("", text).replace("\r\n", "\n"))


class OutputCleaner:
    """Cleans a command's output part by part, as it arrives.

    A part may end within a character, within a colour's sequence, or between carriage return and
    newline. The incomplete end then waits for the next part.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._rest = ""

    def feed(self, data: bytes) -> str:
        """Clean the next part, as ``clean_output``."""
        text = self._rest + self._decoder.decode(data)
        incomplete = _INCOMPLETE.search(text)
        end = len(text) if incomplete is None else incomplete.start()
        self._rest = text[end:]
        return clean_output(text[:end])

    def finish(self) -> str:
        """Clean the incomplete end: nothing follows it, or bytes are missing there."""
        text = self._rest + self._decoder.decode(b"", final=True)
        self._rest = ""
        return clean_output(text)


def bounded(text: str) -> str:
    """Cut a long clean message in its middle, and count what was left out."""
    lines = [_bounded_line(line) for line in text.split("\n")]
    if len(lines) > LINES_LIMIT_COUNT:
        half = LINES_LIMIT_COUNT // 2
        lines[half:-half] = [f"... {len(lines) - 2 * half} lines left out ..."]
    return "\n".join(lines)


def _bounded_line(line: str) -> str:
    if len(line) <= LINE_LIMIT_CHARS:
        return line
    half = LINE_LIMIT_CHARS // 2
    return f"{line[:half]} ... {len(line) - 2 * half} characters left out ... {line[-half:]}"


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    if 0xDC80 <= code <= 0xDCFF:  # Python's form of a byte that is not UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
