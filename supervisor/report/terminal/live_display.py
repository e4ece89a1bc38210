"""Drawing in place, by rich: what ``start`` shows below its lines, and ``status --watch``.

rich makes lines of colours for the terminal at hand. Where the cursor goes is done here, because
after a change of the terminal's size only who knows what was drawn can take it away again.
"""

import io
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import IO, Final, TextIO, cast

from rich.console import Console
from rich.text import Text

from supervisor.report.terminal.run_table import Line
from supervisor.report.text.columns import width
from supervisor.report.text.nonblocking_stream import Outlet

_STYLES: Final = {
    "succeeded": "green",
    "failed": "red",
    "unreadable": "red",
    "cancelled": "yellow",
    "in_progress": "cyan",
    "running": "cyan",
    "queued": "dim",
    "head": "bold",
}
_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"
_ENTER, _LEAVE = "\x1b[?1049h", "\x1b[?1049l"
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


class Painter:
    """Turns clean lines into what a terminal understands; no colours where ``NO_COLOR`` is set."""

    def __init__(self) -> None:
        # Never the terminal itself: that may be gone, or stopped, and only the outlet bears it.
        self._console = Console(
            file=io.StringIO(), force_terminal=True, highlight=False, markup=False, emoji=False
        )

    def paint(self, line: Line) -> str:
        """One line, without its end."""
        text = Text(line.text, _STYLES.get(line.status, "") if not line.shown else "")
        text.append(line.shown, _STYLES.get(line.status, ""))
        text.append(line.rest)
        with self._console.capture() as captured:
            self._console.print(text, end="", no_wrap=True, crop=False, overflow="ignore")
        return captured.get()


class LiveRegion:
    """Some lines at the bottom of a terminal that are drawn again and again.

    Args:
        outlet: the terminal; nothing here waits for it.
    """

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._painter = Painter()
        self._widths: list[int] = []

    def size(self) -> tuple[int, int]:
        """Columns and rows, as they are now."""
        return self._outlet.size()

    def draw(self, lines: list[Line]) -> None:
        """Put these lines in the place of those drawn before, in one write."""
        text = self._erasing() + "\n".join(self._painter.paint(line) for line in lines)
        self._widths = [width(str(line)) for line in lines]
        self._outlet.write(text)

    def print(self, line: Line) -> None:
        """Print a line that stays, above the region, which is drawn again with the next frame."""
        text = f"{self._erasing()}{self._painter.paint(line)}\n"
        self._widths = []
        self._outlet.write(text)

    def clear(self) -> None:
        """Take the region away."""
        if self._widths:
            self._outlet.write(self._erasing())
            self._widths = []

    def _erasing(self) -> str:
        """Back to where the region begins: terminals break lines anew when they become narrow."""
        if not self._widths:
            return ""
        columns = self._outlet.size()[0]
        rows = sum(max(1, -(-drawn // columns)) for drawn in self._widths)
        up = f"\x1b[{rows - 1}A" if rows > 1 else ""
        return f"\r{up}{_REST_OF_SCREEN}"


class AlternateScreen:
    """A terminal's other screen, drawn whole each time: what was there before comes back.

    Args:
        stream: the terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = cast("IO[str]", stream)
        self._painter = Painter()

    def size(self) -> tuple[int, int]:
        """Columns and rows, as they are now."""
        found = os.get_terminal_size(self._stream.fileno())
        return found.columns or 80, found.lines or 24

    def draw(self, lines: list[Line]) -> None:
        """Show these lines and nothing else."""
        painted = [f"{self._painter.paint(line)}{_REST_OF_LINE}" for line in lines]
        self._write(_HOME + "\r\n".join(painted) + _REST_OF_SCREEN)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the page within the block, and also after Ctrl-Z and ``fg``."""

        def pause(number: int, _frame: FrameType | None) -> None:
            self._write(_SHOW + _LEAVE)
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            signal.signal(number, pause)
            self._write(_ENTER + _HIDE)

        before = signal.signal(signal.SIGTSTP, pause)
        self._write(_ENTER + _HIDE)
        try:
            yield
        finally:
            signal.signal(signal.SIGTSTP, before)
            self._write(_SHOW + _LEAVE)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
