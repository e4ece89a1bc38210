"""Which processes belong to a run, and killing them.

Membership is proven, never guessed. There are three proofs. The process is below us and below no
living worker: we are a child subreaper, so every orphan of our workers becomes our child. Its
environment names the run and this root: a copy of the root has runs of the same ids. It is in the
session that the run's worker leads, or led until its exit. For an earlier supervisor's worker only
the last two apply, since its orphans went to another process.

Two kinds of children are spared. What another run's hook left in the background has that hook in
its environment. What is in our own session belongs to no run, because every worker leads a session
of its own: so a shell that starts background jobs and then execs the supervisor keeps them.
"""

import contextlib
import os
from collections.abc import Callable, Collection, Iterator
from typing import Final

import psutil

from workers.processes.stage_members import is_of_another_hook, is_of_run
from workers.processes.tree import Process, children, descendants, environment, kill_all
from workers.records.dataclass import dataclass
from workers.records.identity import Identity, is_of_this_boot
from workers.records.proc import ProcStat, is_running, proc_stat

_STOPPED: Final = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)


def is_stopped(pid: int) -> bool:
    """Tell whether a process is in state T: stopped by a signal or traced."""
    try:
        return psutil.Process(pid).status() in _STOPPED
    except psutil.Error:
        return False


def works_on(worker: Identity, owner_path: str) -> bool:
    """Tell whether the process that a journal names has the run's ``.owner`` open.

    A journal can be edited: no signal goes to a process only because its pid is in one. Host names
    are not compared: the host may have been renamed.
    """
    if worker.pid in (1, os.getpid()) or not is_of_this_boot(worker):
        return False
    if not is_running(worker.pid, worker.start_ticks):
        return False
    folder = f"/proc/{worker.pid}/fd"
    try:
        owner = os.stat(owner_path, follow_symlinks=False)
        names = os.listdir(folder)
    except OSError:
        return False
    for name in names:
        with contextlib.suppress(OSError):  # closed since it was listed
            if os.path.samestat(os.stat(f"{folder}/{name}"), owner):
                return True
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class LostRun:
    """A run whose processes must end.

    Attributes:
        run_id: the run.
        root: path of the root.
        root_id: identity of the root.
        worker: its worker, if it lives or we saw it exit.
        is_below_us: we started it, so its orphans are our children.
        since_ticks: start time of its worker in clock ticks, 0 if unknown; older processes are
            ignored.
    """

    run_id: str
    root: str
    root_id: str
    worker: Process | None
    is_below_us: bool
    since_ticks: int


def kill_leftovers(
    lost: LostRun, workers: Collection[Process], others: Collection[Process]
) -> tuple[int, ...]:
    """Kill, once, every process of a run.

    For a run whose worker we started, only our own descendants are searched: the cost does not
    depend on what else runs. For any other run, all of /proc is read.

    Args:
        lost: the run.
        workers: the living workers of other runs.
        others: children of ours that belong to no run.

    Returns:
        The pids that were alive, or have exited since the last call; empty if nothing is left.
    """
    spared = {*workers, *others}
    working = {pid for pid, _ in workers}

    def below_us() -> Iterator[Process]:
        if lost.worker is not None and is_running(*lost.worker):  # a fork of the zygote
            yield lost.worker
            yield from descendants(lost.worker[0])
        yield from _below_us(spared, lost.run_id)

    def everywhere() -> Iterator[Process]:
        yield from below_us()
        for process, stat in _processes(lost.since_ticks):
            if process in spared:
                continue
            if _in_session(stat, lost.worker):
                yield process
            elif stat.ppid in working:
                continue  # a living worker's child, whatever environment it was started with
            elif is_of_run(
                environment(process[0], stat), lost.run_id, root=lost.root, root_id=lost.root_id
            ):
                yield process

    killed = kill_all(below_us if lost.is_below_us else everywhere)
    return tuple(pid for pid, _ in killed)


def our_children() -> list[Process]:
    """Our children, zombies included."""
    return [(pid, stat.start_ticks) for pid in children(os.getpid()) if (stat := proc_stat(pid))]


def reap_orphans(known: Callable[[], Collection[int]]) -> None:
    """Reap the exited children that came to us as a subreaper.

    Args:
        known: returns the pids that their owners reap; called only if a child has exited.
    """
    try:
        if os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return  # the usual case costs one system call
    except ChildProcessError:
        return
    spared = known()
    for pid in children(os.getpid()):
        if pid not in spared and (stat := proc_stat(pid)) is not None and stat.has_ended:
            _reap(pid)


def _below_us(spared: Collection[Process], run_id: str) -> Iterator[Process]:
    session = os.getsid(0)
    for pid in children(os.getpid()):
        stat = proc_stat(pid)
        if stat is None or stat.sid == session or (pid, stat.start_ticks) in spared:
            continue
        if is_of_another_hook(environment(pid, stat), run_id):
            continue
        if not stat.has_ended or _reap(pid):
            yield pid, stat.start_ticks
        yield from descendants(pid)


def _reap(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    return False


def _processes(since_ticks: int) -> Iterator[tuple[Process, ProcStat]]:
    """Living processes except us, newest first: in a chain of forks the newest one lives."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    for pid in sorted(pids, reverse=True):
        stat = proc_stat(pid)
        if stat is None or stat.has_ended or stat.start_ticks < since_ticks or pid == os.getpid():
            continue
        yield (pid, stat.start_ticks), stat


def _in_session(stat: ProcStat, worker: Process | None) -> bool:
    """The session is the worker's unless another process has taken the worker's pid since."""
    if worker is None or stat.sid != worker[0]:
        return False
    leader = proc_stat(worker[0])
    return leader is None or leader.start_ticks == worker[1]
