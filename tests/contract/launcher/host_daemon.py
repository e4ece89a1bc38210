"""``host_daemon.py SPOOL NAME``: an engine's daemon, the first process of a host in namespaces.

It starts a worker program for each ``KEY.place`` in its spool, reports its end by ``KEY.done``, and
reaps the orphans of its host. The spool is the only way to it: its pids mean nothing outside.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path


def main(spool: Path, name: str) -> None:
    socket.sethostname(name)
    jobs: dict[int, str] = {}
    (spool / "ready").write_text(name)
    while True:
        for place in sorted(spool.glob("*.place")):
            order = json.loads(place.read_text())
            place.unlink()
            jobs[_start(order, spool)] = place.name.removesuffix(".place")
        for cancel in sorted(spool.glob("*.cancel")):
            cancel.unlink()
            for pid, key in jobs.items():
                if key == cancel.name.removesuffix(".cancel"):
                    os.kill(pid, signal.SIGTERM)
        _reap(jobs, spool)
        time.sleep(0.02)


def _start(order: dict[str, object], spool: Path) -> int:
    words = [sys.executable, "-I", "-m", "workers", str(order["run_dir"])]
    with (spool / "jobs.log").open("ab") as log:
        return subprocess.Popen(
            [*words, "--claim", str(order["attempt"])],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        ).pid


def _reap(jobs: dict[int, str], spool: Path) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        key = jobs.pop(pid, None)
        if key is not None:
            draft = spool / f"{key}.draft"
            draft.write_text(str(os.waitstatus_to_exitcode(status)))
            draft.rename(spool / f"{key}.done")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
