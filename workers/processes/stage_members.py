"""The run and the stage that a process belongs to.

A process belongs to a run if its environment contains the run's id and the root's: a copy of a root
has runs with the same ids, but their processes are not ours.

The worker's children are the first processes of running stages, which are known, and orphans that
came to it as the nearest subreaper. An orphan belongs to a stage by its process group, else by the
environment that it was started with. One that left both is assigned to a stage only when no other
stage runs.
"""

import os
from collections.abc import Iterator, Mapping

from workers.processes.tree import Process, children, descendants, environment
from workers.records.proc import proc_stat


def of_stage(stage_id: str, leaders: Mapping[str, int], run_id: str) -> Iterator[Process]:
    """The living processes of one stage, parents before children.

    Args:
        stage_id: the stage.
        leaders: the first process of every running stage; it may have ended.
        run_id: the run.
    """
    stages = {pid: stage for stage, pid in leaders.items()}
    for pid in children(os.getpid()):
        stat = proc_stat(pid)
        if stat is None:
            continue
        owner = stages.get(pid) or stages.get(stat.pgid)
        owner = owner or _stage_in(environment(pid, stat), run_id)
        if owner != stage_id:
            continue
        if not stat.has_ended:
            yield pid, stat.start_ticks
        yield from descendants(pid)


def stage_is_alive(stage_id: str, run_id: str, *, root: str, root_id: str) -> bool:
    """Whether any process of this host belongs to a stage; arguments as ``is_of_run``."""
    for name in os.listdir("/proc"):
        stat = proc_stat(int(name)) if name.isdecimal() else None
        if stat is None or stat.has_ended:
            continue
        environ = environment(int(name), stat)
        is_ours = is_of_run(environ, run_id, root=root, root_id=root_id)
        if is_ours and _stage_in(environ, run_id) == stage_id:
            return True
    return False


def is_of_run(environ: bytes, run_id: str, *, root: str, root_id: str) -> bool:
    """Whether a process was started by a run of this root or by a hook of it.

    Args:
        environ: the environment that the process was started with, as in /proc.
        run_id: the run.
        root: the root's path, for workers of an earlier version, which have no root_id.
        root_id: the root's identity.
    """
    variables = _our_variables(environ)
    if variables.get(b"SUPERVISED_RUN_ID") != run_id.encode():
        return False
    if b"SUPERVISED_ROOT_ID" in variables:
        return variables[b"SUPERVISED_ROOT_ID"] == root_id.encode()
    return variables.get(b"SUPERVISED_ROOT") == os.fsencode(root)


def is_of_another_hook(environ: bytes, run_id: str) -> bool:
    """Whether a process was started by a hook of another run."""
    variables = _our_variables(environ)
    is_hook = b"SUPERVISED_HOOK" in variables
    return is_hook and variables.get(b"SUPERVISED_RUN_ID") != run_id.encode()


def _our_variables(environ: bytes) -> dict[bytes, bytes]:
    entries = environ.split(b"\0")
    return dict(entry.partition(b"=")[::2] for entry in entries if entry.startswith(b"SUPERVISED_"))


def _stage_in(environ: bytes, run_id: str) -> str | None:
    """The stage in an environment; None if it contains none of this run."""
    variables = _our_variables(environ)
    if variables.get(b"SUPERVISED_RUN_ID") != run_id.encode():
        return None
    return variables.get(b"SUPERVISED_STAGE_ID", b"").decode("utf-8", "replace")
