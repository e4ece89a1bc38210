"""The same with strace: a second pair of eyes that shares nothing with the shim.

strace counts per system call, so a point is a name and a number, found by a first run. It sees the
supervisor's main thread alone, which is the one that writes.
"""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.faults.engine.client import DEADLINE_S
from tests.faults.engine.shim import Place

CALLS = {
    "openat": "open",
    "write": "write",
    "pwrite64": "write",
    "writev": "write",
    "fsync": "flush",
    "fdatasync": "flush",
    "ftruncate": "truncate",
    "rename": "rename",
    "unlink": "unlink",
    "unlinkat": "unlink",
    "rmdir": "rmdir",
    "mkdir": "mkdir",
    "link": "link",
    "linkat": "link",
    "chmod": "chmod",
    "fchmod": "chmod",
    "flock": "flock",
}
"""The system calls, and what the shim calls them."""
LINE = re.compile(r"^(\w+)\((?:AT_FDCWD<[^>]*>, )?(.*)$")
"""A call and its arguments, without the directory that relative paths start from."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One mutating call below the root: the ``number``-th of its name in the whole process."""

    name: str
    number: int


def run(
    place: Place, words: list[str], *options: str, preload: dict[str, str] | None = None
) -> int:
    """Run a supervisor under strace, and return the exit code; 137 where it was killed."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SUPERVIS")}
    told = [f"-E{name}={value}" for name, value in (preload or {}).items()]
    tracer = ["strace", "-qq", "-y", "-s0", "-o", str(place.notes / "trace"), *options, *told]
    done = subprocess.run(
        [*tracer, sys.executable, "-m", "supervisor", *words],
        cwd=place.root,
        env={
            **clean,
            "PYTHONPATH": str(Path(__file__).parents[3]),
            "XDG_CONFIG_HOME": str(place.notes),
            "MARKS": str(place.notes / "marks"),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=DEADLINE_S,
    )
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


def profile(place: Place, words: list[str], preload: dict[str, str] | None = None) -> list[Seen]:
    """The mutating calls below the root, in order."""
    run(place, words, "-e", f"trace={','.join(CALLS)}", preload=preload)
    root = re.compile(re.escape(str(place.root)) + '[/>"]')
    counts: Counter[str] = Counter()
    found = []
    for line in (place.notes / "trace").read_text().splitlines():
        match = LINE.match(line)
        if match is None:
            continue
        name, rest = match.groups()
        counts[name] += 1
        mutates = name != "openat" or "O_CREAT" in rest or "O_TRUNC" in rest
        if mutates and root.search(rest):
            found.append(Seen(name, counts[name]))
    return found


def kill(place: Place, words: list[str], at: Seen) -> bool:
    """Kill the supervisor before the call; False where it ended before."""
    inject = f"inject={at.name}:signal=KILL:when={at.number}"
    return run(place, words, "-e", f"trace={at.name}", "-e", inject) == 128 + 9


def available() -> str | None:
    """Why strace cannot be used here, None where it can."""
    if shutil.which("strace") is None:
        return "there is no strace"
    done = subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], capture_output=True)
    return None if done.returncode == 0 else "strace may not trace here"
