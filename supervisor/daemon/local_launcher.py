"""Workers of this host: children of the supervisor, or of an earlier one.

The owner lock and the process itself are the witnesses: a worker is dead if the lock is free.
"""

import contextlib
import os
import signal
from typing import Final

from supervisor.core import stimuli
from supervisor.core.lifecycle import Run
from supervisor.core.policy.liveness import Liveness
from supervisor.core.stimuli import Accepted, Stimulus
from supervisor.daemon.context import DaemonContext
from supervisor.daemon.observe import new_facts
from supervisor.daemon.process_table import LostRun, is_stopped, kill_leftovers
from supervisor.daemon.run_handle import Launcher, Observation, RunHandle
from supervisor.launchers.spawner import LaunchedWorker, LaunchFailure, Spawner
from workers.processes.tree import Process
from workers.records.files import is_dir
from workers.records.flock import is_flocked, take_flock
from workers.records.identity import Identity, is_alive, open_pidfd, send_signal, signal_name
from workers.records.typed_errors import BadFileError, CannotBeginError, TypedError

_SEE_LOG: Final = "see .runs/.supervisor/workers.log"


class LocalLauncher(Launcher):
    """Starts workers on this host and observes them; see Launcher."""

    def __init__(self, context: DaemonContext, spawner: Spawner) -> None:
        self._context = context
        self._spawner = spawner

    def helpers(self) -> tuple[Process, ...]:
        """The spawner's helper."""
        return self._spawner.helpers()

    def close(self) -> None:
        """End the spawner's helper."""
        self._spawner.close()

    def launch(self, handle: RunHandle) -> list[Stimulus]:
        """Start a worker that inherits the run's locked owner file."""
        context, run_id, run = self._context, handle.run_id, handle.reader.run
        if not is_dir(run.path):
            return [stimuli.DirectoryGone(run_id)]
        owner_fd = take_flock(run.owner)
        if owner_fd is None:
            return [stimuli.LaunchFailed(run_id, "its owner lock is held", transient=True)]
        try:
            worker = self._spawner.launch(run, owner_fd)
        finally:
            os.close(owner_fd)
        if isinstance(worker, LaunchFailure):
            context.log.write("launch_failed", run_id=run_id, why=worker.reason)
            return [stimuli.LaunchFailed(run_id, worker.reason, worker.transient)]
        handle.worker, handle.is_child = worker, True
        handle.proven = Identity(
            host=context.identity.host,
            boot_id=context.identity.boot_id,
            pid=worker.pid,
            start_ticks=worker.start_ticks,
        )
        context.reporter.launched(handle.spec)
        return []

    def adopt(self, handle: RunHandle, about: Accepted, *, begun: bool) -> list[Stimulus] | None:
        """Watch the worker that an earlier supervisor started, if it lives."""
        if not self._has_owner(handle):
            return None
        worker = handle.worker_identity()
        if worker is not None:
            handle.worker = watched(worker)
        self._context.log.write("run_adopted", run_id=handle.run_id)
        self._context.reporter.adopted(handle.spec)
        return [stimuli.Adopted(about, begun)]

    def _has_owner(self, handle: RunHandle) -> bool:
        """Check the owner lock; if its file was replaced, check the process."""
        try:
            return is_flocked(handle.reader.run.owner)
        except BadFileError as error:
            self._context.log.write("owner_unreadable", run_id=handle.run_id, why=str(error))
            return _is_worker_alive(handle)

    def observe(self, handle: RunHandle, run: Run, *, is_due: bool) -> Observation:
        """Read new facts and the heartbeat; without a watched worker, check the lock."""
        context, reader, sizes = self._context, handle.reader, self._context.size_poller
        is_fresh = run.liveness is Liveness.FRESH
        has_beaten = reader.heartbeat_moved(sure=is_fresh)
        news: list[Stimulus] = []
        if not is_fresh or reader.has_news():
            news = new_facts(context, handle)
            reader.note_in(sizes)
        elif handle.run_id not in sizes.names():
            reader.note_in(sizes)
        return Observation(
            news=news,
            has_beaten=has_beaten,
            # Only a late worker's process is read: that costs fifty times as much as the rest.
            is_stopped=not has_beaten and not is_fresh and is_worker_stopped(handle),
            losses=self._check_owner(handle, "its worker is gone") if handle.worker is None else (),
        )

    def exited(self, handle: RunHandle, exit_code: int | None) -> list[Stimulus]:
        """Read what the worker left: a verdict, or none."""
        events = new_facts(self._context, handle)
        if exit_code == CannotBeginError.exit_code and handle.reader.worker is None:
            reason = f"its worker could not begin; {_SEE_LOG}"
            return [*events, stimuli.LaunchFailed(handle.run_id, reason, transient=False)]
        return [*events, *self._check_owner(handle, _exit_reason(exit_code))]

    def _check_owner(self, handle: RunHandle, reason: str) -> list[Stimulus]:
        """If the owner lock is free, read the journal once more: a verdict, or a lost worker."""
        reader = handle.reader
        if reader.verdict is not None:
            return []
        try:
            if is_flocked(reader.run.owner):
                return []
        except (OSError, TypedError) as error:  # only the process can be checked
            self._context.log.write("owner_unreadable", run_id=handle.run_id, why=str(error))
            if _is_worker_alive(handle):
                return []
        events = new_facts(self._context, handle)
        if reader.verdict is None:
            events.append(stimuli.WorkerGone(handle.run_id, reason))
        return events

    def stop(self, handle: RunHandle) -> list[Stimulus]:
        """Send SIGTERM to the worker, by its pidfd if we have one."""
        worker = handle.worker_identity()
        if handle.worker is not None and handle.worker.pidfd is not None:  # needs no new descriptor
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle.worker.pidfd, signal.SIGTERM)
        elif worker is not None:
            send_signal(worker.pid, worker.start_ticks, signal.SIGTERM)
        return []

    def clean_up(self, handle: RunHandle) -> tuple[int, ...]:
        """Kill every process of the run, and none of another run."""
        context, worker = self._context, handle.worker_identity()
        lost = LostRun(
            run_id=handle.run_id,
            root=context.layout.root,
            root_id=context.lease.root_id,
            worker=None if worker is None else (worker.pid, worker.start_ticks),
            is_below_us=handle.is_child,
            since_ticks=0 if worker is None else worker.start_ticks,
        )
        others = {w.process for name, w in context.workers().items() if name != handle.run_id}
        for other in context.runs.values():
            if other is not handle:
                others |= other.launcher.processes(other)
        return kill_leftovers(lost, others, context.inherited_children | context.helpers())


def watched(process: Identity) -> LaunchedWorker | None:
    """A process that an earlier supervisor or a caller started, with a pidfd; None if it is gone.

    Its exit code cannot be read.
    """
    pidfd = open_pidfd(process.pid, process.start_ticks)
    if pidfd is None:
        return None
    return LaunchedWorker(pid=process.pid, start_ticks=process.start_ticks, pidfd=pidfd)


def is_worker_stopped(handle: RunHandle) -> bool:
    """Tell whether the worker is stopped or traced."""
    worker = handle.worker_identity()
    return worker is not None and is_stopped(worker.pid)


def _is_worker_alive(handle: RunHandle) -> bool:
    worker = handle.worker_identity()
    return worker is not None and is_alive(worker)


def _exit_reason(code: int | None) -> str:
    if code is None:
        return "its worker ended without a verdict"
    if code >= 0:
        return f"its worker exited with {code} and without a verdict; {_SEE_LOG}"
    hint = " (out of memory?)" if code == -signal.SIGKILL else ""
    return f"its worker was killed by {signal_name(-code)}{hint}"
