"""A how-to page is typed in, command by command, and shows what the page shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.root import DEADLINE_S, Root

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
END = "-- end of a command --"
NORMAL = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d{3}Z-[0-9a-f]{8}"), "RUN"),
    (re.compile(r"\b\d+\.\d+s\b"), "TIME"),
    (re.compile(r"\b\d+ %"), "SHARE"),
    (re.compile(r"\|[#. ]{24}\|"), "BAR"),
    (re.compile(r" {2,}"), "  "),
)


def normal(line: str) -> str:
    for pattern, word in NORMAL:
        line = pattern.sub(word, line)
    return line.strip()


def steps_of(text: str) -> list[tuple[str, list[str]]]:
    """Each command of a page and the lines that it shows."""
    steps: list[tuple[str, list[str]]] = []
    for kind, body in BLOCK.findall(text):
        for line in body.splitlines() if kind == "console" else ():
            if line.startswith("$ "):
                steps.append((line[2:], []))
            else:
                steps[-1][1].append(line)
    return steps


def as_shown(lines: list[str]) -> re.Pattern[str]:
    """What a command must print; a line of three dots stands for any."""
    parts = [r"(?:.*\n)*?" if x == "..." else re.escape(normal(x)) + "\n" for x in lines]
    return re.compile("".join(parts))


@pytest.mark.parametrize("name", ["follow-a-batch.md", "choose-the-environment.md"])
def test_every_command_of_a_page_does_what_the_page_says(root: Root, name: str) -> None:
    text = (PAGES / name).read_text()
    for config in [body for kind, body in BLOCK.findall(text) if kind == "toml"]:
        root.write("config/supervisor.toml", config)
    steps = steps_of(text)
    assert len(steps) >= 5
    # The mark keeps the exit code for a next `echo $?`, and waits for nobody in the background.
    script = "".join(f"{step}\n_c=$?; echo '{END}'; (exit $_c)\n" for step, _ in steps)
    tools = Path(root.path, "bin")
    tools.mkdir()
    program = tools / "supervisor"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m supervisor "$@"\n')
    program.chmod(0o755)
    env = {k: v for k, v in os.environ.items() if not k.startswith("SUPERVIS")}
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=root.path,
        env={**env, "PATH": f"{tools}:{env['PATH']}", "XDG_CONFIG_HOME": str(root.path / "xdg")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.stderr == ""
    printed = done.stdout.split(f"{END}\n")[:-1]
    assert len(printed) == len(steps)
    for (step, lines), got in zip(steps, printed, strict=True):
        shown = "".join(f"{normal(line)}\n" for line in got.splitlines())
        assert as_shown(lines).fullmatch(shown), f"$ {step}\n{got}"
