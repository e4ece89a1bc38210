"""An engine for tests whose hosts are namespaces: it places round robin, by their spools.

The directory of the spools is its whole configuration; a host that is gone or stands still says
nothing, as with an engine that has not noticed yet.
"""

import itertools
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from supervisor.launchers.agents.agent import main
from supervisor.launchers.agents.protocol import AgentReady, Answer, Cancel, JobEnded, Place, Placed

SPOOLS = "HOST_SPOOLS"


class HostEngine:
    """The engine."""

    every_s = 0.05

    def __init__(self, spools: Path) -> None:
        self._spools = spools
        self._hosts = itertools.cycle(sorted(path for path in spools.iterdir() if path.is_dir()))
        self._said_ready = False

    def fileno(self) -> int | None:
        return None

    def place(self, order: Place) -> Iterable[Answer]:
        spool = next(self._hosts)
        draft = spool / f"{order.key}.draft"
        draft.write_text(json.dumps({"run_dir": order.run_dir, "attempt": order.attempt}))
        draft.rename(spool / f"{order.key}.place")
        yield Placed(order.key, f"on {spool.name}")

    def cancel(self, order: Cancel) -> Iterable[Answer]:
        for spool in self._spools.iterdir():
            (spool / f"{order.key}.cancel").touch()
        return ()

    def poll(self) -> Iterable[Answer]:
        if not self._said_ready:
            self._said_ready = True
            yield AgentReady()
        for done in self._spools.glob("*/*.done"):
            code = done.read_text()
            done.unlink()
            yield JobEnded(done.name.removesuffix(".done"), f"exit {code}")

    def close(self) -> None:
        """The spools stay."""


def make(_: Mapping[str, Any]) -> HostEngine:
    return HostEngine(Path(os.environ[SPOOLS]))


if __name__ == "__main__":
    sys.exit(main(sys.argv, make))
