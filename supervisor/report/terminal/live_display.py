"""Drawing in place on a terminal: for ``start`` and for ``status --watch``.

A terminal that changes its size wraps its lines again. Only the code that drew them knows their
widths and can erase them, so the cursor is moved here and by no library.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

from supervisor.report.terminal.run_table import Line
from supervisor.report.text.nonblocking_stream import Outlet
from supervisor.report.text.output import wants_colours, width

_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"
_ENTER, _LEAVE = "\x1b[?1049h", "\x1b[?1049l"
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


class LiveRegion:
    """Lines at the bottom of a terminal that are drawn again and again. Never waits for it."""

    def __init__(self, outlet: Outlet, *, colours: bool) -> None:
        self._outlet = outlet
        self._colours = colours
        self._widths: list[int] = []

    def draw(self, lines: list[Line]) -> None:
        """Replace the lines drawn before, in one write."""
        text = self._erase() + "\n".join(line.painted(on=self._colours) for line in lines)
        self._widths = [width(str(line)) for line in lines]
        self._outlet.write(text)

    def print(self, line: Line) -> None:
        """Print a line that stays, and erase the region until it is drawn again."""
        self._outlet.write(f"{self._erase()}{line.painted(on=self._colours)}\n")

    def clear(self) -> None:
        """Erase the region."""
        self._outlet.write(self._erase())

    def _erase(self) -> str:
        """The sequence that erases the region: lines may have been wrapped since."""
        if not self._widths:
            return ""
        columns = self._outlet.size()[0]
        rows = sum(max(1, -(-drawn // columns)) for drawn in self._widths)
        self._widths = []
        up = f"\x1b[{rows - 1}A" if rows > 1 else ""
        return f"\r{up}{_REST_OF_SCREEN}"


class AlternateScreen:
    """A terminal's alternate screen, drawn whole each time; leaving it restores the terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._colours = wants_colours(stream)

    def size(self) -> tuple[int, int]:
        """Columns and rows, as they are now."""
        terminal = os.get_terminal_size(self._stream.fileno())
        return terminal.columns or 80, terminal.lines or 24

    def draw(self, lines: list[Line]) -> None:
        """Show these lines and nothing else."""
        painted = [f"{line.painted(on=self._colours)}{_REST_OF_LINE}" for line in lines]
        self._write(_HOME + "\r\n".join(painted) + _REST_OF_SCREEN)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the screen within the block, and again after Ctrl-Z and ``fg``."""

        def suspend(number: int, _frame: FrameType | None) -> None:
            self._write(_SHOW + _LEAVE)
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            signal.signal(number, suspend)
            self._write(_ENTER + _HIDE)

        before = signal.signal(signal.SIGTSTP, suspend)
        self._write(_ENTER + _HIDE)
        try:
            yield
        finally:
            signal.signal(signal.SIGTSTP, before)
            self._write(_SHOW + _LEAVE)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
