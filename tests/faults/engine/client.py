"""Asking a server for a supervisor that dies at a chosen call."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.engine.shim import Crash, Place, Role, environment

DEADLINE_S = 60.0
ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True, kw_only=True)
class Died:
    """How a supervisor ended: ``code`` None where it was killed at the chosen call."""

    code: int | None
    printed: str
    errors: str


class Server:
    """A server, and the supervisors that it forks one after the other."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def supervise(
        self, words: list[str], place: Place, crash: Crash, plants: Iterable[str] = ()
    ) -> Died:
        """Run the command line in a child that dies at its point.

        Raises:
            AssertionError: it neither ended nor died within the deadline.
        """
        mine = crash.role is Role.SUPERVISOR
        out, err = place.notes / "stdout", place.notes / "stderr"
        order: dict[str, Any] = {
            "root": str(place.root),
            "words": words,
            "env": {
                **environment(place, crash),
                "MARKS": str(place.notes / "marks"),
                "LOOPBACK": str(place.notes / "engine"),
            },
            "out": str(out),
            "err": str(err),
            "plants": list(plants),
            "mount": place.mount,
            "skip": place.skip,
            "log": str(place.notes / "calls") if mine and crash.at else "",
            "at": crash.at if mine else 0,
            "mode": crash.mode,
            "deadline_s": DEADLINE_S,
        }
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("the server has no pipes")
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        code = json.loads(self._process.stdout.readline())
        assert code is not None, f"the supervisor did not end; stderr:\n{err.read_text()}"
        killed = code == -9
        return Died(code=None if killed else code, printed=out.read_text(), errors=err.read_text())


@contextmanager
def serving(shim: Path, home: Path) -> Iterator[Server]:
    """Start a server; it is gone afterwards.

    Args:
        shim: the built shim.
        home: where the user's configuration is looked for.
    """
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SUPERVIS")}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.engine.server", str(shim)],
        cwd=ROOT,
        env={**clean, "LD_PRELOAD": str(shim), "XDG_CONFIG_HOME": str(home)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Server(process)
    finally:
        process.kill()
        process.communicate()
