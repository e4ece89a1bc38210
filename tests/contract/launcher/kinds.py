"""The launchers that the contract holds for, each with a root of its own."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stress.cluster import Cluster, cluster_in
from tests.contract.launcher.loopback import PLACE
from tests.root import Root, alive, kill_all, root_in, wait_until
from tests.slurm_cluster import slurm_cluster

HERE = Path(__file__).parent


@dataclass
class Bench(Root):
    """A root whose workers come from one launcher.

    Attributes:
        kind: the launcher.
        program: the prefix of every command.
        environ: variables that commands get in addition.
        settings: more settings, for every configuration.
    """

    kind: str = "exec"
    program: Sequence[str] = (sys.executable, "-m", "supervisor")
    environ: Mapping[str, str] = field(default_factory=dict)
    settings: str = ""

    @property
    def is_placed(self) -> bool:
        return self.kind not in ("exec", "zygote")

    def configure(self, pipelines: str = "", settings: str = "", launcher: str = "") -> None:
        name = {"placed": "dask"}.get(self.kind, self.kind)
        super().configure(pipelines, self.settings + settings, launcher or name)

    def popen(
        self, *words: str, env: Mapping[str, str] | None = None, under: Sequence[str] = ()
    ) -> "subprocess.Popen[str]":
        return self._popen([*under, *self.program, *words], {**self.environ, **(env or {})})

    def agents(self, supervisor_pid: int) -> list[int]:
        """The agents of a supervisor."""
        marker = str(HERE / "loopback.py") if self.kind == "placed" else f"{self.kind}_agent"
        return [pid for pid in alive(marker) if f"PPid:\t{supervisor_pid}\n" in _status(pid)]

    def kill_agent(self, supervisor_pid: int) -> None:
        """Kill the agent of a supervisor, and wait until there is another."""
        before = wait_until(lambda: self.agents(supervisor_pid), "there is an agent")
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: set(self.agents(supervisor_pid)) - set(before), "there is another")

    def claims(self) -> list[Path]:
        return sorted(self.path.glob(".runs/*/cli/*/.claim.*"))


def _status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return ""


@contextmanager
def bench_of(kind: str, tmp_path: Path, settings: str = "") -> Iterator[Bench]:
    """A root with a launcher that needs nothing else."""
    with root_in(tmp_path / "root") as made:
        bench = Bench(made.path, made.started, kind=kind, settings=settings)
        bench.configure()
        yield bench


@contextmanager
def _placed(tmp_path: Path) -> Iterator[Bench]:
    place = tmp_path / "engine"
    place.mkdir()
    with root_in(tmp_path / "root") as made:
        bench = Bench(
            made.path,
            made.started,
            kind="placed",
            program=(sys.executable, str(HERE / "supervised.py")),
            environ={PLACE: str(place), "PYTHONPATH": str(HERE.parents[2])},
        )
        bench.configure()
        try:
            yield bench
        finally:
            kill_all(str(place))


_shared: list[Cluster] = []
_held = ExitStack()


def _scheduler() -> str:
    """The one that the tests of this process share; ``close_scheduler`` ends it."""
    if not _shared:
        place = Path(_held.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        _shared.append(_held.enter_context(cluster_in(place, 20)))
    return _shared[0].address


def close_scheduler() -> None:
    """End the scheduler that the tests of this process share, if there is one."""
    _shared.clear()
    _held.close()


@contextmanager
def _dask(tmp_path: Path) -> Iterator[Bench]:
    pytest.importorskip("distributed", reason="Dask is not installed")
    with bench_of("dask", tmp_path, f'dask_scheduler = "{_scheduler()}"\n') as bench:
        yield bench


@contextmanager
def _slurm(tmp_path: Path) -> Iterator[Bench]:
    with slurm_cluster(cpus=4) as cluster, root_in(tmp_path / "root") as made:
        bench = Bench(made.path, made.started, kind="slurm", environ=cluster.env)
        bench.configure()
        yield bench


Kind = Callable[[Path], AbstractContextManager[Bench]]

KINDS: dict[str, Kind] = {
    "exec": lambda path: bench_of("exec", path),
    "zygote": lambda path: bench_of("zygote", path),
    "placed": _placed,
    "dask": _dask,
    "slurm": _slurm,
}
