"""The preloaded shim: building it, and what it is told."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

SOURCE = Path(__file__).with_name("crashpoint.c")
CLOCK_SOURCE = Path(__file__).with_name("clockshift.c")


class Mode(StrEnum):
    """What happens at the chosen call."""

    BEFORE = "before"
    AFTER = "after"
    TORN = "torn"
    CUT = "cut"
    """The power goes: nothing that was not flushed is there afterwards, and all processes are."""
    NO_SPACE = "errno:28"
    NO_QUOTA = "errno:122"
    BROKEN = "errno:5"
    """The call fails, once, with ENOSPC, EDQUOT or EIO."""
    NO_SPACE_ANY_MORE = "errnos:28"
    BROKEN_FOR_GOOD = "errnos:5"
    """This call and every later one fail."""
    SHORT = "short"
    """Half of a write is made, and said to be."""
    SLOW = "sleep:300"
    """The call takes 0.3 s, three heartbeats of the harness."""


class Role(StrEnum):
    """Whose calls are counted: the supervisor's, or those of the first worker that begins.

    Of a run that an engine places, the worker that begins is the keeper, and what it forks is kept.
    """

    SUPERVISOR = "supervisor"
    WORKER = "-m workers"
    KEPT = "kept"
    TEMPORARY = "--lease-fd"
    """The supervisor that a waiting ``run`` starts."""
    HOST_KEEPER = "keeper"
    HOST_WORKER = "worker"
    """Of a run that its caller hosts: the keeper that the host forks, and that one's worker."""


FORKERS = {
    Role.KEPT: "--claim",
    Role.TEMPORARY: "none",
    Role.HOST_KEEPER: "workers.entry.caller_host",
    Role.HOST_WORKER: "workers.entry.caller_host",
}
"""What the command line of a process says whose forks are meant, unless it is the zygote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """One point: the ``at``-th mutating call of a role; 0 for none."""

    at: int = 0
    mode: Mode = Mode.BEFORE
    role: Role = Role.SUPERVISOR


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a point happens.

    Attributes:
        root: the root; calls below it are counted.
        notes: a directory outside it, for what is not the product's.
        mount: the file system that CUT shuts down; "" for none.
        skip: flushes that are left out, as a planted bug: "file", "dir" or both.
    """

    root: Path
    notes: Path
    mount: str = ""
    skip: str = ""


def build(directory: Path, source: Path = SOURCE) -> Path:
    """Compile a shim; raises CalledProcessError or FileNotFoundError where there is no cc."""
    built = directory / source.with_suffix(".so").name
    words = ["cc", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o", str(built)]
    subprocess.run([*words, str(source), "-ldl"], check=True, timeout=60)
    return built


def environment(place: Place, crash: Crash) -> Mapping[str, str]:
    """What tells an exec'd process that it is the one, and the shim which flushes to leave out."""
    told = {"CRASHPOINT_BELOW": str(place.root), "CRASHPOINT_SKIP": place.skip}
    if crash.role is not Role.SUPERVISOR and crash.at:
        told |= {
            "CRASHPOINT_ROLE": "--lease-fd" if crash.role is Role.TEMPORARY else "-m workers",
            "CRASHPOINT_FORKER": FORKERS.get(crash.role, "workers.entry.zygote"),
            "CRASHPOINT_DEPTH": "2" if crash.role is Role.HOST_WORKER else "1",
            "CRASHPOINT_CLAIM": str(place.notes / "claim"),
            "CRASHPOINT_AT": str(crash.at),
            "CRASHPOINT_MODE": crash.mode,
            "CRASHPOINT_MOUNT": place.mount,
            "CRASHPOINT_LOG": str(place.notes / "calls"),
        }
    return told


def calls(place: Place) -> list[str]:
    """The calls that were counted: ``number name path``."""
    path = place.notes / "calls"
    return path.read_text().splitlines() if path.exists() else []


def clear(place: Place) -> None:
    """Forget the last point's claim and calls."""
    for name in ("claim", "calls"):
        (place.notes / name).unlink(missing_ok=True)


def available() -> str | None:
    """Why the shim cannot be used here, None where it can."""
    found = any(os.access(os.path.join(p, "cc"), os.X_OK) for p in os.get_exec_path())
    return None if found else "there is no C compiler"
