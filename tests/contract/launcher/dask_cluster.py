"""A Dask scheduler and its workers, as processes of their own on loopback."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.root import alive, wait_until

ENVIRON = {
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
    "DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD": "spawn",
}


@dataclass
class Cluster:
    """A scheduler and workers; ``place`` holds their files and words."""

    place: Path
    port: int = 0
    scheduler: "subprocess.Popen[bytes] | None" = None
    workers: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def _start(self, module: str, *words: str) -> "subprocess.Popen[bytes]":
        clean = {k: v for k, v in os.environ.items() if not k.startswith("SUPERVIS")}
        with (self.place / f"{module}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{module}", "--no-dashboard", *words],
                cwd=self.place,
                env={**clean, **ENVIRON, "TMPDIR": str(self.place)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start_scheduler(self) -> None:
        """Start one, at the port of the last one."""
        file = self.place / "scheduler.json"
        file.unlink(missing_ok=True)
        words = ("--host", "127.0.0.1", "--port", str(self.port), "--scheduler-file", str(file))
        self.scheduler = self._start("dask_scheduler", *words)
        wait_until(lambda: file.exists() and file.read_text(), "the scheduler is up")
        self.port = int(json.loads(file.read_text())["address"].rpartition(":")[2])

    def start_worker(self, slots: int) -> "subprocess.Popen[bytes]":
        """Start a worker and its nanny, which offer slots."""
        words = ("--nthreads", "100", "--resources", f"slot={slots}", "--death-timeout", "60")
        place = ("--local-directory", str(self.place), "--host", "127.0.0.1")
        worker = self._start("dask_worker", self.address, *words, *place)
        self.workers.append(worker)
        return worker

    def kill(self, process: "subprocess.Popen[bytes] | None") -> None:
        """Kill a scheduler, or a worker with its nanny; not what runs of ours it has started."""
        if process is not None:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            self.kill(process)
        for pid in alive(f"TMPDIR={self.place}"):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


@contextmanager
def cluster_in(place: Path, *slots: int) -> Iterator[Cluster]:
    """A scheduler, and a worker for each number of slots."""
    place.mkdir(parents=True, exist_ok=True)
    cluster = Cluster(place)
    try:
        cluster.start_scheduler()
        for count in slots:
            cluster.start_worker(count)
        yield cluster
    finally:
        cluster.close()
