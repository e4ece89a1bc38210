"""Dependencies are locked: every one by version and hash, none below what is promised to work."""

import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted(ROOT.glob("requirements*.lock"))
ENTRY = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^ \\;]+)", re.MULTILINE)
FLOOR = re.compile(r"^([a-zA-Z0-9._-]+)>=([0-9.]+)")

pytestmark = pytest.mark.fault("S17")


def entries(lock: Path) -> dict[str, str]:
    """What a lock file pins: each name with the text of its entry."""
    text = re.sub(r"^#.*$\n?", "", lock.read_text(), flags=re.MULTILINE)
    parts = re.split(r"^(?=[a-zA-Z0-9])", text, flags=re.MULTILINE)
    return {part.split("==")[0]: part for part in parts if part.strip()}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda p: p.name)
def test_every_dependency_has_one_version_and_a_hash(lock: Path) -> None:
    found = entries(lock)
    assert len(found) > 10
    for name, text in found.items():
        assert ENTRY.match(text), f"{name} has no version of its own"
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", text), f"{name} has no hash"


def test_no_locked_version_is_below_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    floors = {m[1].lower(): m[2] for text in asked if (m := FLOOR.match(text))}
    assert {"filelock", "psutil", "watchdog", "distributed"} <= set(floors)
    for lock in LOCKS:
        for name, text in entries(lock).items():
            found = ENTRY.match(text)
            if found and name in floors:
                assert numbers(found[2]) >= numbers(floors[name]), f"{lock.name}: {name}"


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
