"""Foreign text, made safe for a terminal: the one way by which it gets there.

Kept: printable text, newline, tab, and colours (SGR sequences) where asked for. Every other
control character, escape sequence and bidirectional override is spelled out in hexadecimal.
"""

import re
from typing import Final

_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069\ud800-\udfff]"
)
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


def _spell(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
