"""``pytest -n``: a test marked ``alone`` runs alone, and groups are of tests that exist."""

import itertools
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
ALLOWED = {
    ("alone begins", "alone ends"),
    ("alone ends", "alone begins"),
    ("other ends", "alone begins"),
}


def test_while_a_test_marked_alone_runs_no_other_runs(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "conftest.py").read_text())
    (tmp_path / "pyproject.toml").write_text('[tool.pytest]\nmarkers = ["alone"]\n')
    (tmp_path / "test_marks.py").write_text(TESTS)
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "3", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env=clean,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "10 passed" in done.stdout, done.stdout + done.stderr
    marks = (tmp_path / "marks").read_text().splitlines()
    assert (len(marks), marks.count("alone begins")) == (20, 2)
    for begin, end in itertools.pairwise(marks):
        if "alone begins" in (begin, end):
            assert (begin, end) in ALLOWED, marks


def test_groups_are_of_files_that_exist() -> None:
    for begin, _ in GROUPS:
        assert (ROOT / begin).is_file(), begin
