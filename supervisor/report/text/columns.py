"""What a terminal shows of a text: how wide it is, where it must be cut, and colours.

Colours are for terminals only, and never where ``NO_COLOR`` is set or ``TERM`` is ``dumb``. Drawing
characters are ASCII, so that no locale breaks them.
"""

import os
from typing import Final, TextIO

DEFAULT_COLUMNS: Final = 80
CUT: Final = "..."
COLOURS: Final = {"succeeded": "32", "failed": "31", "unreadable": "31", "cancelled": "33"}
COLOURS_OTHER: Final = {"in_progress": "36", "running": "36", "queued": "2", "pending": "2"}


def terminal_columns(stream: TextIO) -> int | None:
    """How wide the terminal behind a stream is, ``COLUMNS`` first; None where it is none."""
    if not stream.isatty():
        return None
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told):
        return int(told)
    try:
        return os.get_terminal_size(stream.fileno()).columns or DEFAULT_COLUMNS
    except OSError:
        return DEFAULT_COLUMNS


def has_cursor(stream: TextIO) -> bool:
    """Tell whether it is a terminal on which a cursor can be moved."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def wants_colours(stream: TextIO) -> bool:
    """Tell whether colours are wanted there."""
    return has_cursor(stream) and not os.environ.get("NO_COLOR")


def paint(text: str, status: str, *, on: bool) -> str:
    """Colour a text as its status; unchanged where ``on`` is false or the status has no colour."""
    code = COLOURS.get(status) or COLOURS_OTHER.get(status)
    return f"\x1b[{code}m{text}\x1b[0m" if on and code else text


def width(text: str) -> int:
    """How many columns a clean text takes."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def cut(text: str, limit: int) -> str:
    """A clean text in at most ``limit`` columns; what was longer ends in dots."""
    if width(text) <= limit:
        return text
    while text and width(text) + len(CUT) > limit:
        text = text[:-1]
    return f"{text}{CUT}"[: max(0, limit)]


def pad(text: str, limit: int) -> str:
    """A clean text with blanks behind it."""
    return text + " " * (limit - width(text))
