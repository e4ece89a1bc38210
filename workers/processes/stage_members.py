"""Which run and which stage a process belongs to.

A process belongs to a run if its environment names the run and the root: a copy of a root has runs
of the same ids, and their processes are not ours. Within one run, several stages may be on at once.

Below the worker stand the leaders of the stages, and what has lost its parent and came to the
worker as the nearest subreaper. The first are known. Of the second a process tells by its group,
else by the environment that it was started with; what left both is nobody's until one stage alone
is on.
"""

import os
from collections.abc import Iterator, Mapping

from workers.processes.tree import Process, children, descendants, environment
from workers.records.proc import proc_stat


def of_stage(stage_id: str, leaders: Mapping[str, int], run_id: str) -> Iterator[Process]:
    """The living processes of one stage, parents before children.

    Args:
        stage_id: the stage.
        leaders: every stage that is on, and the process that leads it or led it.
        run_id: the run's, without which an environment tells nothing.
    """
    stages = {pid: stage for stage, pid in leaders.items()}
    for pid in children(os.getpid()):
        stat = proc_stat(pid)
        if stat is None:
            continue
        owner = stages.get(pid) or stages.get(stat.pgid)
        owner = owner or _told_by(environment(pid, stat), run_id)
        if owner != stage_id:
            continue
        if not stat.has_ended:
            yield pid, stat.start_ticks
        yield from descendants(pid)


def stage_is_alive(stage_id: str, run_id: str, *, root: str, root_id: str) -> bool:
    """Tell whether any process of this host was started by a stage; arguments as ``is_of_run``."""
    for name in os.listdir("/proc"):
        stat = proc_stat(int(name)) if name.isdecimal() else None
        if stat is None or stat.has_ended:
            continue
        environ = environment(int(name), stat)
        is_ours = is_of_run(environ, run_id, root=root, root_id=root_id)
        if is_ours and _told_by(environ, run_id) == stage_id:
            return True
    return False


def is_of_run(environ: bytes, run_id: str, *, root: str, root_id: str) -> bool:
    """Tell whether a process was started by this run or by a hook of it, and by this root's.

    Args:
        environ: the environment that the process was started with, as /proc shows it.
        run_id: the run.
        root: the root's path, for workers of an earlier version, which name no root_id.
        root_id: the root's identity.
    """
    named = _named(environ)
    if named.get(b"SUPERVISED_RUN_ID") != run_id.encode():
        return False
    if b"SUPERVISED_ROOT_ID" in named:
        return named[b"SUPERVISED_ROOT_ID"] == root_id.encode()
    return named.get(b"SUPERVISED_ROOT") == os.fsencode(root)


def is_of_another_hook(environ: bytes, run_id: str) -> bool:
    """Tell whether a process was started by a hook of another run than this one."""
    named = _named(environ)
    return b"SUPERVISED_HOOK" in named and named.get(b"SUPERVISED_RUN_ID") != run_id.encode()


def _named(environ: bytes) -> dict[bytes, bytes]:
    """Our own variables in an environment."""
    words = environ.split(b"\0")
    return dict(word.partition(b"=")[::2] for word in words if word.startswith(b"SUPERVISED_"))


def _told_by(environ: bytes, run_id: str) -> str | None:
    """The stage that an environment names; None where it names none of this run."""
    named = _named(environ)
    if named.get(b"SUPERVISED_RUN_ID") != run_id.encode():
        return None
    return named.get(b"SUPERVISED_STAGE_ID", b"").decode("utf-8", "replace")
