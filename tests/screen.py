"""A terminal for tests: a program on a pty, and what a person would see on it."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.root import DEADLINE_S

_TOKEN = re.compile(
    r"\x1b\[([?0-9;]*)([A-Za-z])|\x1b[()][A-Z0-9]|\x1b[=>78]|([\r\n\b])|(.)", re.DOTALL
)


class Screen:
    """Draws what a terminal gets: the part of VT100 that we use; anything else is an error.

    Attributes:
        lines: all that was written and not erased; scrolling adds lines.
        top: the first visible line.
    """

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.lines: list[list[str]] = [[]]
        self.row = self.column = self.top = 0
        self.colours: set[str] = set()
        self.alternate = False

    def feed(self, text: str) -> None:
        for match in _TOKEN.finditer(text):
            arguments, letter, control, char = match.groups()
            if letter:
                self._escape(arguments, letter)
            elif control:
                self._control(control)
            elif char:
                self._put(char)

    def _put(self, char: str) -> None:
        if self.column >= self.columns:
            self._control("\n")
            self.column = 0
        line = self.lines[self.row]
        line.extend(" " * (self.column + 1 - len(line)))
        line[self.column] = char
        self.column += 1

    def _control(self, char: str) -> None:
        if char == "\r":
            self.column = 0
        elif char == "\b":
            self.column = max(0, self.column - 1)
        else:
            self.row += 1
            while len(self.lines) <= self.row:
                self.lines.append([])
            if self.alternate and len(self.lines) > self.rows:  # it has no scrollback
                del self.lines[0]
                self.row -= 1
            self.top = max(self.top, len(self.lines) - self.rows)

    def _escape(self, arguments: str, letter: str) -> None:
        count = int(arguments) if arguments.isdecimal() else 1
        if letter == "A":
            self.row = max(self.top, self.row - count)
        elif letter == "J" and arguments in ("", "0"):
            del self.lines[self.row + 1 :]
            del self.lines[self.row][self.column :]
        elif letter == "J":
            self.lines = [[]] if arguments == "2" else self.lines
            self.row = self.column = 0
        elif letter == "H":
            self.row, self.column = self.top, 0
        elif letter == "K":
            del self.lines[self.row][self.column :]
        elif letter == "m":
            self.colours.add(arguments)
        elif letter in "hl":
            if "1049" in arguments:
                self.alternate = letter == "h"
                if self.alternate:
                    self.kept = (self.lines, self.row, self.column, self.top)
                    self.lines, self.row, self.column, self.top = [[]], 0, 0, 0
                else:
                    self.lines, self.row, self.column, self.top = self.kept
        else:
            raise AssertionError(f"the screen does not know ESC [ {arguments} {letter}")

    def resize(self, columns: int, rows: int) -> None:
        """Wrap lines again that became too long, as tmux, VTE, kitty and others do."""
        if self.alternate:  # there the program draws again, the terminal wraps nothing
            self.columns, self.rows = columns, rows
            self.lines = [line[:columns] for line in self.lines[:rows]]
            self.row = min(self.row, rows - 1)
            return
        before, at, top = self.lines, self.row, self.top
        self.columns, self.rows, self.lines = columns, rows, []
        for number, line in enumerate(before):
            pieces = [line[i : i + columns] for i in range(0, len(line), columns)] or [[]]
            if number == top:
                self.top = len(self.lines)
            self.lines += pieces
            if number == at:
                self.row = len(self.lines) - 1
                self.column = min(self.column, len(pieces[-1]))
        self.top = max(self.top, len(self.lines) - rows)

    def in_sight(self) -> list[str]:
        return self.text()[self.top :]

    def text(self) -> list[str]:
        return ["".join(line).rstrip() for line in self.lines]


class Seat:
    """A program at a terminal. Use ``seat``."""

    def __init__(self, fd: int, process: "subprocess.Popen[bytes]", screen: Screen) -> None:
        self.fd, self.process, self.screen = fd, process, screen
        self.got = b""
        self._partial = b""

    def read(self, wait_s: float = 0.05) -> bool:
        """Take what is there; False at the end."""
        if not select.select([self.fd], [], [], wait_s)[0]:
            return True
        try:
            part = os.read(self.fd, 65_536)
        except OSError:  # EIO: the program's side is closed
            return False
        self.got += part
        whole = self._partial + part
        cut = whole.rfind(b"\x1b") if b"\x1b" in whole[-16:] else len(whole)
        self._partial = whole[cut:]
        self.screen.feed(whole[:cut].decode("utf-8", "replace"))
        return bool(part)

    def until(self, true: Callable[[list[str]], object], what: str) -> list[str]:
        """Read until the screen is as wanted."""
        deadline = time.monotonic() + DEADLINE_S
        while not true(self.screen.text()):
            assert time.monotonic() < deadline, f"{what}: {self.screen.text()}"
            if not self.read():
                break
        self.settle()
        assert true(self.screen.text()), f"{what}: {self.screen.text()}"
        return self.screen.text()

    def settle(self) -> None:
        """Show what was held back: it was no beginning of a sequence."""
        if self._partial and not self._partial.startswith(b"\x1b"):
            self.screen.feed(self._partial.decode("utf-8", "replace"))
            self._partial = b""

    def resize(self, columns: int, rows: int) -> None:
        """Make the terminal another size, as a person who drags its corner."""
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(columns, rows)

    def end(self) -> int:
        """Read to the end."""
        deadline = time.monotonic() + DEADLINE_S
        while self.read():
            assert time.monotonic() < deadline, "it does not end"
        self.screen.feed(self._partial.decode("utf-8", "replace"))
        return self.process.wait(DEADLINE_S)


@contextlib.contextmanager
def seat(
    cwd: Path,
    *words: str,
    columns: int = 80,
    rows: int = 24,
    env: Mapping[str, str] | None = None,
) -> Iterator[Seat]:
    """Run a command of ours at a terminal of its own."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    drop = ("SUPERVIS", "NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(drop)}
    process = subprocess.Popen(
        [sys.executable, "-m", "supervisor", *words],
        cwd=cwd,
        env={**clean, "TERM": "xterm", "XDG_CONFIG_HOME": str(cwd / "xdg"), **(env or {})},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Seat(ours, process, Screen(columns, rows))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        os.close(ours)
