"""What is left of a run whose worker is gone or must go: found, killed, and proven to be gone.

What belongs to a run is proven, never guessed. Three proofs: the process is below us and below no
living worker (we are a child subreaper, so what a dead worker leaves comes to us, whatever it does
to its session and its environment); its environment names the run and this root (a copy of the
root has runs of the same ids); or it is in the session that the run's worker leads, or led when we
saw it end. Of an earlier supervisor's worker only the last two are left, since its orphans come to
somebody else.

What a hook of another run left in the background comes to us as well, and is of no lost run: its
environment names the hook. Nothing in our own session is of a run, because every worker leads a
session of its own: so a shell that started something in the background and then became the
supervisor loses nothing.
"""

import contextlib
import os
from collections.abc import Callable, Collection, Iterator

from workers.processes.stage_members import is_of_another_hook, is_of_run
from workers.processes.tree import Process, children, descendants, environment, kill_all
from workers.records.dataclass import dataclass
from workers.records.proc import ProcStat, is_running, proc_stat


@dataclass(frozen=True, slots=True, kw_only=True)
class LostRun:
    """A run whose processes are to end.

    Attributes:
        run_id: the run.
        root: path of the root.
        root_id: identity of the root.
        worker: its worker, where it lives or was seen to end by us; else None.
        is_below_us: we have started it, so that all it leaves has come to us.
        since_ticks: when its worker started, 0 where nobody knows; what is older is of no interest.
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
    """Kill, once, whatever is left of a run.

    Of a run whose worker we started everything is below us or has just ended there, because its
    orphans come to us: there, and only there, it is looked for, which costs the same whatever else
    runs. Of another run the whole of /proc is read.

    Args:
        lost: the run.
        workers: the living workers of other runs.
        others: children of ours that are of no run.

    Returns:
        The pids that were alive at this look or had ended since the last; empty means that nothing
        is left.
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
                continue  # a child of a living worker is that one's, whatever it was started with
            elif is_of_run(
                environment(process[0], stat), lost.run_id, root=lost.root, root_id=lost.root_id
            ):
                yield process

    found = kill_all(below_us if lost.is_below_us else everywhere)
    return tuple(pid for pid, _ in found)


def our_children() -> list[Process]:
    """The children that we have, ended ones included."""
    return [(pid, stat.start_ticks) for pid in children(os.getpid()) if (stat := proc_stat(pid))]


def reap_strangers(known: Callable[[], Collection[int]]) -> None:
    """Reap every child of ours that has ended: what came to us as a subreaper.

    Args:
        known: the pids of children whose end is somebody else's to see; asked where one has ended.
    """
    try:
        if os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return  # the usual case, for one call: nobody has ended
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
    """Living processes but us, newest first: of those that fork and end, the newest live."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    for pid in sorted(pids, reverse=True):
        stat = proc_stat(pid)
        if stat is None or stat.has_ended or stat.start_ticks < since_ticks or pid == os.getpid():
            continue
        yield (pid, stat.start_ticks), stat


def _in_session(stat: ProcStat, worker: Process | None) -> bool:
    """The session with the worker's number is the worker's: nobody has taken its pid since."""
    if worker is None or stat.sid != worker[0]:
        return False
    leader = proc_stat(worker[0])
    return leader is None or leader.start_ticks == worker[1]
