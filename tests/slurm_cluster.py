"""A Slurm of our own: its daemons run in the foreground from one temporary directory.

Nothing of the machine's own Slurm or munge is read or touched: key, socket, ports, state and spool
are ours. Two nodes stand on this host, each a slurmd of its own. Needs Debian's slurmctld, slurmd,
slurm-client and munge; ``missing`` says what there is not.
"""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.root import kill_all, wait_until

PROGRAMS: Final = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
NODES: Final = ("na", "nb")
PATH: Final = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
_COMMAND_S: Final = 60.0  # a client gives up by itself after about 10 s without a controller
_UP_S: Final = 30.0

_CONF: Final = """\
ClusterName=ours
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={path}/munge.sock
CredType=cred/munge
StateSaveLocation={path}/state
SlurmdSpoolDir={path}/spool.%n
SlurmctldPidFile={path}/slurmctld.pid
SlurmdPidFile={path}/slurmd.%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
JobRequeue=0
ReturnToService=2
KillWait={kill_wait_s}
MinJobAge=300
MaxJobCount=2000
"""


_does_not_start: Final[list[str]] = []  # why not, once it was tried


def missing() -> str | None:
    """What keeps a cluster from being started here; None where nothing is known to."""
    if _does_not_start:
        return _does_not_start[0]
    lacks = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if lacks:
        return f"Slurm cannot be started here: {', '.join(lacks)} not installed"
    return None


class SlurmCluster:
    """One controller and two nodes.

    Args:
        path: a short directory of its own, 0700.
        cpus: slots of each node.
        kill_wait_s: how long Slurm waits between TERM and KILL.
    """

    def __init__(self, path: Path, cpus: int = 2, kill_wait_s: int = 12) -> None:
        self.path = path
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        (path / "munge.key").write_bytes(secrets.token_bytes(128))
        (path / "munge.key").chmod(0o600)
        (path / "state").mkdir()
        port, *ports = _free_ports(1 + len(NODES))
        host = socket.gethostname()
        text = _CONF.format(host=host, port=port, user=_user(), path=path, kill_wait_s=kill_wait_s)
        for node, node_port in zip(NODES, ports, strict=True):
            text += f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={node_port} "
            text += f"CPUs={cpus} RealMemory=1000\n"
        text += "PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"
        (path / "slurm.conf").write_text(text)

    @property
    def env(self) -> dict[str, str]:
        """What a client needs beside its environment to reach this cluster."""
        return {"SLURM_CONF": f"{self.path}/slurm.conf", "PATH": PATH}

    def start(self) -> None:
        """Start all daemons and wait until the nodes take work; skips where they do not start."""
        names = ("key", "sock", "pid", "log", "seed")
        key, sock, pid, log, seed = (f"{self.path}/munge.{name}" for name in names)
        words = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={sock}"]
        words += [f"--pid-file={pid}", f"--log-file={log}", f"--seed-file={seed}"]
        self._start("munged", words)
        self.start_controller()
        for node in NODES:
            self.start_node(node)
        try:
            self.wait_until_up()
        except AssertionError:
            _does_not_start.append(f"Slurm does not start here: {self._last_words()}")
            pytest.skip(_does_not_start[0])

    def start_controller(self) -> None:
        """Start slurmctld, with the state that it left."""
        self._start("slurmctld", ["slurmctld", "-D"])

    def start_node(self, node: str) -> None:
        """Start the slurmd of a node."""
        self._start(node, ["slurmd", "-D", "-N", node])

    def kill(self, name: str) -> None:
        """SIGKILL to "slurmctld" or the slurmd of a node; its jobs go on."""
        self._daemons[name].kill()
        self._daemons.pop(name).wait()

    def wait_until_up(self, *, idle: bool = True) -> None:
        """Wait until the controller answers and every node can take work."""

        def is_up() -> bool:
            answer = self.call("sinfo", "--noheader", "--Node", "--format=%T")
            states = {"idle"} if idle else {"idle", "mixed", "allocated", "completing"}
            found = answer.split()
            return len(found) == len(NODES) and {*found} <= states

        wait_until(is_up, "every node of the cluster is idle", _UP_S)

    def call(self, *words: str) -> str:
        """Run a client; what it printed, empty where it failed."""
        done = subprocess.run(
            words,
            env={**os.environ, **self.env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMMAND_S,
            check=False,
        )
        return done.stdout if done.returncode == 0 else ""

    def jobs(self, states: str = "all") -> list[tuple[str, str, str]]:
        """Every job that Slurm knows: id, name, state."""
        out = self.call("squeue", "--noheader", f"--states={states}", "--format=%i|%j|%T")
        return [(job, name, state) for job, name, state in (x.split("|") for x in out.split())]

    def stop(self) -> None:
        """End everything, jobs too."""
        for daemon in self._daemons.values():
            daemon.kill()
        for daemon in self._daemons.values():
            daemon.wait()
        self._daemons.clear()
        kill_all(f"{self.path}/")

    def _start(self, name: str, words: Sequence[str]) -> None:
        with open(self.path / f"{name}.out", "ab") as out:
            self._daemons[name] = subprocess.Popen(
                words,
                env={**os.environ, **self.env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def _last_words(self) -> str:
        lines = []
        for path in sorted(self.path.glob("*.out")):
            lines += [f"{path.stem}: {line}" for line in path.read_text().splitlines()[-2:]]
        return "; ".join(lines)


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        found = []
        for _ in range(count):
            sock = held.enter_context(socket.socket())
            sock.bind(("127.0.0.1", 0))
            found.append(int(sock.getsockname()[1]))
        return found


@contextmanager
def slurm_cluster(cpus: int = 2, kill_wait_s: int = 12) -> Iterator[SlurmCluster]:
    """A running cluster, or a skip that says what is missing; nothing of it is left afterwards."""
    why = missing()
    if why is not None:
        pytest.skip(why)
    with tempfile.TemporaryDirectory(prefix="slurm-") as path:  # short: sockets stand in it
        cluster = SlurmCluster(Path(path), cpus, kill_wait_s)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()
