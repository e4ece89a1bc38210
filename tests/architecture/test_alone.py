"""``pytest -n``: a test marked ``alone`` runs alone, and groups are of tests that exist."""

import os
import subprocess
import sys
from pathlib import Path

from conftest import GROUPS

ROOT = Path(__file__).parents[2]
TESTS = """
import os, time
import pytest

def note(text):
    with open("marks", "ab", buffering=0) as file:
        file.write(f"{text}\\n".encode())

def spend_time(name):
    note(f"{name} begins")
    until = time.monotonic() + 0.05
    while time.monotonic() < until:
        os.sched_yield()
    note(f"{name} ends")

@pytest.mark.alone
@pytest.mark.parametrize("number", range(2))
def test_first(number):
    spend_time("alone")

@pytest.mark.parametrize("number", range(8))
def test_other(number):
    spend_time("other")
"""


def test_test_marked_alone_runs_after_the_others_and_beside_none(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "conftest.py").read_text())
    (tmp_path / "pyproject.toml").write_text('[tool.pytest]\nmarkers = ["alone"]\n')
    (tmp_path / "test_marks.py").write_text(TESTS)
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-n",
            "3",
            "--dist",
            "loadgroup",
            "-p",
            "no:cacheprovider",
        ],
        cwd=tmp_path,
        env=clean,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "10 passed" in done.stdout, done.stdout + done.stderr
    marks = (tmp_path / "marks").read_text().splitlines()
    assert marks[16:] == ["alone begins", "alone ends"] * 2
    assert set(marks[:16]) == {"other begins", "other ends"}


def test_groups_are_of_files_that_exist() -> None:
    for begin, _ in GROUPS:
        assert (ROOT / begin).is_file(), begin
