"""Foreign text, made safe for a terminal: the one way by which it gets there.

Kept: printable text, newline, tab, and colours (SGR sequences) where asked for. Every other
control character, escape sequence and bidirectional override is spelled out in hexadecimal.
"""

import codecs
import re
from typing import Final

LINE_LIMIT_CHARS: Final = 6_000  # of a message: a path of the greatest length (4,096) fits
LINES_LIMIT_COUNT: Final = 200  # of a message

_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069\ud800-\udfff]"
)
_UNFINISHED: Final = re.compile("(?:\x1b(?:\\[[0-9;]{0,32})?|\r)\\Z")
_SGR: Final = re.compile("\x1b\\[[0-9;]{0,32}m")


def clean(text: str) -> str:
    """Make text harmless; newlines and tabs stay."""
    return _UNSAFE.sub(_spell, text)


def clean_line(text: str) -> str:
    """Make text harmless and one line."""
    return clean(text).replace("\n", " ").replace("\t", " ")


def clean_output(text: str) -> str:
    """Make a command's output harmless but keep its colours and carriage returns."""
    parts = []
    at = 0
    for match in _SGR.finditer(text):
        parts += [clean(text[at : match.start()].replace("\r\n", "\n")), match.group()]
        at = match.end()
    parts.append(clean(text[at:].replace("\r\n", "\n")))
    return "".join(parts)


def without_colours(text: str) -> str:
    """Make a command's output harmless where there are no colours."""
    return clean(_SGR.sub("", text).replace("\r\n", "\n"))


class OutputCleaner:
    """Makes a command's output harmless part by part, as it comes.

    A part may end within a character, within a colour's sequence or between carriage return and
    newline: what is unfinished waits for the next part.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._held = ""

    def feed(self, data: bytes) -> str:
        """Clean the next part; colours stay."""
        text = self._held + self._decoder.decode(data)
        unfinished = _UNFINISHED.search(text)
        end = len(text) if unfinished is None else unfinished.start()
        self._held = text[end:]
        return clean_output(text[:end])

    def finish(self) -> str:
        """Clean what is still unfinished: nothing follows it, or bytes are missing there."""
        text = self._held + self._decoder.decode(b"", final=True)
        self._held = ""
        return clean_output(text)


def bounded(text: str) -> str:
    """Cut a clean message that is too long in its middle, and say how much was left out."""
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


def _spell(match: re.Match[str]) -> str:
    code = ord(match.group())
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte that is not UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
