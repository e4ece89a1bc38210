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
from supervisor.daemon.journal_events import facts
from supervisor.daemon.leftovers import LostRun, kill_leftovers
from supervisor.daemon.process_table import is_stopped, living_pidfd
from supervisor.daemon.run_handle import Launcher, Observation, RunHandle
from supervisor.launchers.spawner import LaunchedWorker, LaunchFailure, Spawner
from workers.processes.tree import Process
from workers.records.files import is_dir
from workers.records.flock import is_flocked, take_flock
from workers.records.identity import Identity, is_alive, send_signal, signal_name
from workers.records.typed_errors import BadFileError, CannotBeginError, TypedError

_LAST_WORDS: Final = "its last words are in .runs/.supervisor/workers.log"


class LocalLauncher(Launcher):
    """Starts workers on this host and observes them; see Launcher.

    Args:
        context: the effects and the live runs.
        spawner: starts a worker's process.
    """

    def __init__(self, context: DaemonContext, spawner: Spawner) -> None:
        self._context = context
        self._spawner = spawner

    def helpers(self) -> tuple[Process, ...]:
        """The spawner's."""
        return self._spawner.helpers()

    def close(self) -> None:
        """Let go of the spawner's helper."""
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
            host=context.mine.host,
            boot_id=context.mine.boot_id,
            pid=worker.pid,
            start_ticks=worker.start_ticks,
        )
        context.reporter.launched(handle.spec)
        return []

    def adopt(self, handle: RunHandle, about: Accepted, *, begun: bool) -> list[Stimulus] | None:
        """Watch the worker that an earlier supervisor started, if it lives."""
        if not self._is_owned(handle):
            return None
        worker = handle.worker_identity()
        pidfd = None if worker is None else living_pidfd(worker)
        if worker is not None and pidfd is not None:
            handle.worker = LaunchedWorker(
                pid=worker.pid, start_ticks=worker.start_ticks, pidfd=pidfd
            )
        self._context.log.write("run_adopted", run_id=handle.run_id)
        self._context.reporter.adopted(handle.spec)
        return [stimuli.Adopted(about, begun)]

    def _is_owned(self, handle: RunHandle) -> bool:
        """A worker lives; if its lock's file was replaced, the process itself is the witness."""
        try:
            return is_flocked(handle.reader.run.owner)
        except BadFileError as error:
            self._context.log.write("owner_unreadable", run_id=handle.run_id, why=str(error))
            worker = handle.worker_identity()
            return worker is not None and is_alive(worker)

    def observe(self, handle: RunHandle, run: Run, *, is_due: bool) -> Observation:
        """Read new facts, and whether the heartbeat moved; without a watched worker, the lock."""
        context, reader, glance = self._context, handle.reader, self._context.glance
        is_fresh = run.liveness is Liveness.FRESH
        has_moved = reader.heartbeat_moved(sure=is_fresh)
        news: list[Stimulus] = []
        if not is_fresh or reader.has_news():
            news = facts(context, handle)
            reader.note_in(glance)
        elif handle.run_id not in glance.names():
            reader.note_in(glance)
        return Observation(
            news=news,
            beat=has_moved,
            # Only a late worker's state is read: that costs fifty times what the rest does.
            is_stopped=not has_moved and not is_fresh and stopped(handle),
            losses=self._gone(handle, "its worker is gone") if handle.worker is None else (),
        )

    def exited(self, handle: RunHandle, exit_code: int | None) -> list[Stimulus]:
        """Read what the worker left: a verdict, or none."""
        found = facts(self._context, handle)
        if exit_code == CannotBeginError.exit_code and handle.reader.worker is None:
            reason = f"its worker could not begin; {_LAST_WORDS}"
            return [*found, stimuli.LaunchFailed(handle.run_id, reason, transient=False)]
        return [*found, *self._gone(handle, _how(exit_code))]

    def _gone(self, handle: RunHandle, reason: str) -> list[Stimulus]:
        """If the owner lock is free, read the journal once more: a verdict, or a lost worker."""
        reader = handle.reader
        if reader.verdict is not None:
            return []
        try:
            if is_flocked(reader.run.owner):
                return []
        except (OSError, TypedError) as error:  # the process itself is the witness that is left
            self._context.log.write("owner_unreadable", run_id=handle.run_id, why=str(error))
            worker = handle.worker_identity()
            if worker is not None and is_alive(worker):
                return []
        found = facts(self._context, handle)
        if reader.verdict is None:
            found.append(stimuli.WorkerGone(handle.run_id, reason))
        return found

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
        """Kill the worker and whatever is left of the run, and nothing of another run."""
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
        return kill_leftovers(lost, others, context.strangers | context.helpers())


def stopped(handle: RunHandle) -> bool:
    """Tell whether somebody stopped the worker."""
    worker = handle.worker_identity()
    return worker is not None and is_stopped(worker.pid)


def _how(code: int | None) -> str:
    if code is None:
        return "its worker ended without a verdict"
    if code >= 0:
        return f"its worker exited with {code} and without a verdict; {_LAST_WORDS}"
    name = signal_name(-code)
    hint = " (out of memory?)" if code == -signal.SIGKILL else ""
    return f"its worker was killed by {name}{hint}"
