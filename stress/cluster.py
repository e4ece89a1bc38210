"""A Dask scheduler and its workers, as separate processes on loopback."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

START_S: Final = 60.0  # sized for two busy cores; it takes a second
ENVIRON: Final = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
_THREADS: Final = "100"  # threads only wait; each sub-pipeline takes one in addition to the slots


@dataclass
class Cluster:
    """A scheduler and workers; ``place`` holds their files and output."""

    place: Path
    port: int = 0
    scheduler: "subprocess.Popen[bytes] | None" = None
    workers: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    @property
    def address(self) -> str:
        """The address of the scheduler."""
        return f"tcp://127.0.0.1:{self.port}"

    def _start(self, module: str, *argv: str) -> "subprocess.Popen[bytes]":
        clean = {k: v for k, v in os.environ.items() if not k.startswith("SUPERVIS")}
        with (self.place / f"{module}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{module}", "--no-dashboard", *argv],
                cwd=self.place,
                env={**clean, **ENVIRON, "TMPDIR": str(self.place)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start_scheduler(self) -> None:
        """Start a scheduler, at the port of the previous one."""
        file = self.place / "scheduler.json"
        file.unlink(missing_ok=True)
        argv = ("--host", "127.0.0.1", "--port", str(self.port), "--scheduler-file", str(file))
        self.scheduler = self._start("dask_scheduler", *argv)
        until = time.monotonic() + START_S
        while not (file.exists() and file.read_text()):
            if time.monotonic() > until or self.scheduler.poll() is not None:
                raise TimeoutError(f"Dask scheduler did not start; output in {self.place}")
            time.sleep(0.01)
        self.port = int(json.loads(file.read_text())["address"].rpartition(":")[2])

    def start_worker(self, slots: int) -> "subprocess.Popen[bytes]":
        """Start a worker with its nanny and a number of slots."""
        argv = ("--nthreads", _THREADS, "--resources", f"slot={slots}", "--death-timeout", "60")
        place = ("--local-directory", str(self.place), "--host", "127.0.0.1")
        worker = self._start("dask_worker", self.address, *argv, *place)
        self.workers.append(worker)
        return worker

    def kill(self, process: "subprocess.Popen[bytes] | None") -> None:
        """Kill a scheduler, or a worker with its nanny, but not our runs that it has started."""
        if process is not None:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def close(self) -> None:
        """Kill the cluster and every process that it has started."""
        for process in (*self.workers, self.scheduler):
            self.kill(process)
        for pid in self._left():  # nannies start their workers in separate sessions
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _left(self) -> list[int]:
        marker, found = f"TMPDIR={self.place}".encode(), []
        for name in os.listdir("/proc"):
            with suppress(OSError, ValueError):
                if marker in Path("/proc", name, "environ").read_bytes().split(b"\0"):
                    found.append(int(name))
        return found


@contextmanager
def cluster_in(place: Path, *slots: int) -> Iterator[Cluster]:
    """A scheduler, and one worker per given number of slots."""
    place.mkdir(parents=True, exist_ok=True)
    cluster = Cluster(place)
    try:
        cluster.start_scheduler()
        for count in slots:
            cluster.start_worker(count)
        yield cluster
    finally:
        cluster.close()
