"""Every command block of the documentation is executed, and shows what it says it shows.

A page is read from top to bottom in a fresh root. A block behind a line that ends in "`NAME`:" is
written to that file; the commands of a ``console`` block (lines with ``$ ``) are given to a shell,
and what they print is held against the lines below them. Run ids, times, durations, sizes and pids
are others every time, so they only have to be there; lines may come in another order, and ``...``
stands for any. Comments before a block say what is special:

* ``<!-- not run: WHY -->``
* ``<!-- output differs: WHY -->``: it is run, and what it prints is not compared
* ``<!-- in: DIR -->``: it is run there, relative to the root
* ``<!-- stays: TEXT -->``: it is started, and goes on once it has said so

A page that says ``<!-- typed in by FILE -->`` has a test of its own, which is there and names it.
"""

import os
import re
import socket
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.root import Root, wait_until

REPO = Path(__file__).parents[2]
PAGES = [REPO / "README.md", *sorted((REPO / "docs").rglob("*.md"))]
RUN = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d{3}Z-[0-9a-f]{8}")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"<!-- (not run|output differs|in|stays): ([^>]*?) -->\s*\Z")
TYPED = re.compile(r"^<!-- typed in by (\S+) -->$", re.MULTILINE)
FILE = re.compile(r"`([\w./-]+\.(?:toml|json))`[^`\n]*:\s*\Z")
OTHER_EVERY_TIME = (
    (RUN, "RUN"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "TIME"),
    (re.compile(r"\b(\d+\.\d+s|\d+m\d\ds)"), "TOOK"),
    (re.compile(r"\b\d+(\.\d+)? (B|KiB|MiB)\b"), "SIZE"),
    (re.compile(r"pid \d+"), "pid N"),
    (re.compile(r"(?<=RUN\.1\.)\d+"), "ROOT"),
    (re.compile(r"[ \t]+"), " "),
)
DEMO = "/home/me/demo"


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the comments and the paragraph before it."""

    kind: str
    text: str
    marks: dict[str, str]
    name: str | None
    line: int


def blocks(page: Path) -> list[Block]:
    text, found = page.read_text(), []
    for match in BLOCK.finditer(text):
        before, marks = text[: match.start()], {}
        while mark := MARK.search(before):
            marks[mark[1]] = mark[2]
            before = before[: mark.start()]
        named = FILE.search(before)
        line = text[: match.start()].count("\n") + 1
        found.append(Block(match[1], match[2], marks, named[1] if named else None, line))
    return found


def runnable(page: Path) -> bool:
    elsewhere = TYPED.search(page.read_text())
    if elsewhere is not None:
        assert page.name in (REPO / elsewhere[1]).read_text(), f"{elsewhere[1]} types in no {page}"
        return False
    return any(b.kind == "console" and "not run" not in b.marks for b in blocks(page))


@dataclass
class Reader:
    """Somebody who goes through a page.

    Attributes:
        known: which run of ours stands for which of the page's.
    """

    root: Root
    known: dict[str, str] = field(default_factory=dict)

    def plain(self, line: str) -> str:
        line = line.replace(str(self.root.path), DEMO)
        for pattern, word in OTHER_EVERY_TIME:
            line = pattern.sub(word, line)
        return line.strip()

    def ours(self, text: str) -> str:
        """The page's words with our runs in the place of the page's."""
        for theirs, run in self.known.items():
            text = text.replace(theirs, run).replace(theirs[-8:], run[-8:])
        return text.replace(DEMO, str(self.root.path))

    def read(self, block: Block) -> None:
        parts = re.split(r"^\$ (.*)\n", block.text, flags=re.MULTILINE)
        assert parts[0] == "", "a block of commands begins with one"
        commands = [self.ours(word) for word in parts[1::2]]
        if "stays" in block.marks:
            self._start(commands, block.marks["stays"])
            return
        said = self._run(commands, self.ours(block.marks.get("in", ".")))
        if "output differs" in block.marks:
            return
        for command, expected, found in zip(commands, parts[2::2], said, strict=True):
            self._compare(command, expected.splitlines(), found.splitlines())

    def _environment(self) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("SUPERVIS")}
        path = f"{self.root.path}/.bin:{clean['PATH']}"
        return {**clean, "PATH": path, "XDG_CONFIG_HOME": str(self.root.path / "xdg")}

    def _shell(self, script: str, folder: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            ["/bin/bash", "-c", script],
            cwd=self.root.path / folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.root.started.append(process)
        return process

    def _run(self, commands: list[str], folder: str) -> list[str]:
        """What each command prints, in one shell, each with the exit code of the one before."""
        lines = []
        for command in commands:
            lines += [command, "code=$?; printf '\\036\\n'; (exit $code)"]
        done, _ = self._shell("\n".join(lines), folder).communicate(timeout=100)
        return done.split("\x1e\n")[: len(commands)]

    def _start(self, commands: list[str], until: str) -> None:
        (command,) = commands
        out = self.root.path / f"stays-{len(self.root.started)}.txt"
        self._shell(f"exec {command} >{out.name} 2>&1", ".")
        wait_until(lambda: out.exists() and until in out.read_text(), until)

    def _compare(self, command: str, expected: list[str], found: list[str]) -> None:
        left = Counter(self.plain(line) for line in found if " Killed " not in line)
        by_text = {self.plain(line): line for line in reversed(found)}
        for line in expected:
            if line == "...":
                continue
            text = self.plain(line)
            assert left[text], f"$ {command}\ndoes not print: {line}\nbut:\n" + "\n".join(found)
            left[text] -= 1
            for theirs, run in zip(RUN.findall(line), RUN.findall(by_text[text]), strict=True):
                self.known.setdefault(theirs, run)
        over = +left
        assert "..." in expected or not over, f"$ {command}\nalso prints: {list(over)}"


def free_port() -> int:
    """A port of this host that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if runnable(page)],
    ids=lambda page: str(page.relative_to(REPO)),
)
def test_page_shows_what_its_commands_print(page: Path, root: Root) -> None:
    (root.path / "config/supervisor.toml").unlink()
    script = root.write(".bin/supervisor", f'#!/bin/sh\nexec {sys.executable} -m supervisor "$@"\n')
    script.chmod(0o755)
    reader = Reader(root)
    if page.name == "run-on-several-hosts.md":
        pytest.importorskip("distributed")
        dask = root.write(".bin/dask", f'#!/bin/sh\nexec {sys.executable} -m dask "$@"\n')
        dask.chmod(0o755)
        reader.known["8786"] = str(free_port())
    for block in blocks(page):
        if "not run" in block.marks:
            continue
        if block.kind == "console":
            try:
                reader.read(block)
            except AssertionError as error:
                error.add_note(f"{page.relative_to(REPO)}, line {block.line}")
                raise
        elif block.name is not None:
            root.write(block.name, reader.ours(block.text))


def test_commands_are_in_console_blocks() -> None:
    for page in PAGES:
        kinds = {block.kind for block in blocks(page)}
        allowed = {"console", "toml", "mermaid", "yaml", "ini", "json"}
        assert kinds <= (allowed | {"sh"} if page.name == "README.md" else allowed), page


def test_wrong_page_is_detected(root: Root, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for wrong in ("$ echo a\nb\n", "$ echo a\n", "$ false\n$ echo $?\n0\n"):
        page.write_text(f"```console\n{wrong}```\n")
        (block,) = blocks(page)
        with pytest.raises(AssertionError):
            Reader(root).read(block)
    page.write_text("```console\n$ false\n$ echo $?; echo x\n1\n...\n```\n")
    Reader(root).read(blocks(page)[0])
