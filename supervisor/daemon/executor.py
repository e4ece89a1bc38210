"""Performs what the core decided. The outcomes go back to the core as stimuli.

Actions that share a flush are performed together: the records of one turn make one append per task,
and several writes of one manifest become one.
"""

import contextlib
import os
from collections.abc import Iterable, Mapping

from supervisor.core import actions, stimuli
from supervisor.core.actions import Action
from supervisor.core.lifecycle import Run
from supervisor.core.policy.exit_codes import FinishedRun
from supervisor.core.stimuli import Stimulus
from supervisor.daemon.context import DaemonContext
from supervisor.daemon.observe import new_facts, verdict_seen
from supervisor.daemon.run_handle import RunHandle
from supervisor.errors import TaskStateStoreLockError
from supervisor.store.run_file_sizes import sync_logs
from supervisor.store.run_reader import RunReader
from workers.records.atomic import replace_file, to_bytes
from workers.records.flock import take_flock
from workers.records.journal import FROM_HISTORY, Event, JournalWriter
from workers.records.typed_errors import BadFileError, TypedError


class Executor:
    """Performs actions."""

    def __init__(self, context: DaemonContext) -> None:
        self._context = context
        self._owed_tasks: set[str] = set()

    def perform(self, wanted: Iterable[Action], active: Mapping[str, Run]) -> list[Stimulus]:
        """Perform actions in the core's order; ``active`` has the liveness for manifests."""
        wanted = list(wanted)
        records = [a.run_id for a in wanted if isinstance(a, actions.Record)]
        manifests = {a.run_id: a for a in wanted if isinstance(a, actions.WriteManifest)}
        outcomes: list[Stimulus] = []
        for run_id, manifest in manifests.items():
            if run_id not in records:
                outcomes += self._write_manifest(manifest, active.get(run_id))
        if records:
            outcomes += self._record(records)
        for action in wanted:
            outcomes += self._perform_one(action)
        return outcomes

    def _perform_one(self, action: Action) -> list[Stimulus]:
        match action:
            case actions.Launch(run_id):
                return self._launch(run_id)
            case actions.StopWorker(run_id, detail):
                return self._ask_stop(run_id, detail)
            case actions.KillLeftovers(run_id):
                return self._kill_leftovers(run_id)
            case actions.WriteVerdict():
                return self._write_verdict(action)
            case actions.WriteSnapshot(task_id):
                return self._write_snapshot(task_id)
            case actions.ReportOwed(task_id, attempts, reason):
                return self._report_owed(task_id, attempts, reason)
            case actions.ReleaseMarker(run_id):
                return self._release_marker(run_id)
            case actions.Record() | actions.WriteManifest():
                return []

    def _launch(self, run_id: str) -> list[Stimulus]:
        handle = self._context.runs[run_id]
        handle.launcher = self._context.launchers.of(handle.spec)
        try:
            return handle.launcher.launch(handle)
        except (OSError, TypedError) as error:
            self._quarantine(error)
            return [stimuli.LaunchFailed(run_id, str(error), transient=True)]

    def _ask_stop(self, run_id: str, detail: str) -> list[Stimulus]:
        handle = self._context.runs[run_id]
        with contextlib.suppress(OSError, TypedError):  # the signal alone ends it, as "stopped"
            replace_file(handle.reader.run.cancel, to_bytes({"detail": detail}))
        return handle.launcher.stop(handle)

    def _kill_leftovers(self, run_id: str) -> list[Stimulus]:
        handle = self._context.runs[run_id]
        try:
            alive = handle.launcher.clean_up(handle)
        except OSError as error:  # for example no free descriptor to read /proc with
            self._context.log.write("clear_failed", run_id=run_id, why=str(error))
            return [stimuli.KillingFailed(run_id, str(error))]
        return [stimuli.LeftoversKilled(run_id, alive)]

    def _quarantine(self, error: OSError | TypedError) -> None:
        """Move away what is in a record's place, so that the next try finds it free."""
        if isinstance(error, BadFileError):
            self._context.quarantine.invalid(error)

    def _write_manifest(self, action: actions.WriteManifest, run: Run | None) -> list[Stimulus]:
        handle = self._context.runs[action.run_id]
        try:
            self._context.persistence.write_manifest(
                handle.reader, liveness=str(run.liveness) if run else None, owed=action.owed
            )
        except (OSError, TypedError) as error:
            self._context.log.write("manifest_failed", run_id=action.run_id, why=str(error))
            is_gone = isinstance(error, FileNotFoundError | NotADirectoryError)
            return new_facts(self._context, handle) if is_gone else []
        return [stimuli.ManifestWritten(action.run_id)]

    def _write_verdict(self, action: actions.WriteVerdict) -> list[Stimulus]:
        """Take the owner lock, read the journal again, and append a verdict if it has none.

        For a worker on another host the claim is revoked instead: its lock cannot be waited for.
        """
        context, run_id = self._context, action.run_id
        handle = context.runs[run_id]
        try:
            if action.detail == "run-dir-deleted":
                handle.reader.close()
                handle.reader = context.intake.rebuild(handle.reader)
            needs_lock = handle.launcher.revoke(handle)
            owner_fd = take_flock(handle.reader.run.owner) if needs_lock else None
        except (OSError, TypedError) as error:
            self._quarantine(error)
            return [stimuli.VerdictWriteFailed(run_id, str(error))]
        if owner_fd is None and needs_lock:
            return [stimuli.VerdictWriteFailed(run_id, "its owner lock is held")]
        try:
            reader = self._restore_journal(handle)
            # We are the only writer here: a killed worker's temporary files are never completed.
            run = reader.run
            context.intake.sweep_files(run.path, run.commands, run.errors, only_writer=True)
            reader.read()
            if reader.verdict is None:
                self._append_verdict(action, handle)
                reader.read()
        except (OSError, TypedError) as error:
            self._quarantine(error)
            context.log.write("verdict_failed", run_id=run_id, why=str(error))
            return [stimuli.VerdictWriteFailed(run_id, str(error))]
        finally:
            if owner_fd is not None:
                os.close(owner_fd)
        return [verdict_seen(handle)]

    def _restore_journal(self, handle: RunHandle) -> RunReader:
        """If the journal is gone or was quarantined, write the facts that were read from it."""
        reader = handle.reader
        if not os.path.lexists(reader.run.journal):
            replace_file(reader.run.journal, b"".join(fact.to_line() for fact in reader.facts))
            reader.close()
            reader = handle.reader = RunReader(self._context.layout, reader.spec)
        return reader

    def _append_verdict(self, action: actions.WriteVerdict, handle: RunHandle) -> None:
        context, reader = self._context, handle.reader
        started = [f for f in reader.facts if f.event == Event.RUN_STARTED]
        now_s = context.clock.mono_s()
        same_boot = bool(started) and handle.is_of_this_boot()
        error = sync_logs(reader.run)
        if error is not None:  # the verdict matters more
            context.log.write("logs_unflushed", run_id=action.run_id, why=str(error))
        journal = JournalWriter(reader.run.journal, by="supervisor", clock=context.clock)
        try:
            journal.append(
                Event.VERDICT,
                {
                    "status": action.status,
                    "detail": action.detail,
                    "reason": action.reason,
                    "summary": None,
                    "duration_s": round(now_s - started[0].mono_s, 3) if same_boot else None,
                    "leftover_pids": list(action.leftover_pids),
                },
            )
        finally:
            journal.close()

    def _record(self, run_ids: list[str]) -> list[Stimulus]:
        context = self._context
        handles = [context.runs[run_id] for run_id in run_ids]
        for handle in handles:
            handle.launcher.settle(handle)
        outcomes: list[Stimulus] = []
        for run_id, error in context.persistence.record([h.reader for h in handles]).items():
            if error is not None:
                self._quarantine(error)
                context.log.write("record_failed", run_id=run_id, why=str(error))
                outcomes.append(stimuli.RecordFailed(run_id, str(error)))
                continue
            self._announce(run_id)
            outcomes.append(stimuli.RunRecorded(run_id))
        return outcomes

    def _announce(self, run_id: str) -> None:
        context = self._context
        reader = context.runs[run_id].reader
        data = reader.verdict.data if reader.verdict else {}
        context.log.write(
            "run_finished",
            task_id=reader.spec.task_id,
            run_id=run_id,
            pipeline_id=reader.spec.pipeline.id,
            status=data.get("status"),
            detail=data.get("detail"),
            duration_s=data.get("duration_s"),
        )
        context.reporter.finished(
            FinishedRun(
                spec=reader.spec,
                status=str(data.get("status")),
                detail=data.get("detail"),
                reason=data.get("reason"),
                duration_s=data.get("duration_s"),
                manifest=context.layout.relative(reader.run.manifest),
            )
        )

    def _write_snapshot(self, task_id: str) -> list[Stimulus]:
        try:
            store = self._context.persistence.store(task_id)
            store.write_snapshot()
            if task_id in self._owed_tasks:
                self._owed_tasks.discard(task_id)
                store.pay()
                self._context.log.write("snapshot_paid", task_id=task_id)
        except TaskStateStoreLockError:
            return [stimuli.SnapshotWriteFailed(task_id, "another process holds the task's lock")]
        except (OSError, TypedError) as error:
            self._quarantine(error)
            return [stimuli.SnapshotWriteFailed(task_id, str(error))]
        return [stimuli.SnapshotWritten(task_id)]

    def _report_owed(self, task_id: str, attempts: int, reason: str) -> list[Stimulus]:
        self._owed_tasks.add(task_id)
        with contextlib.suppress(OSError, TypedError):  # the next snapshot replaces this mark
            self._context.persistence.store(task_id).owe()
        self._context.log.write("snapshot_owed", task_id=task_id, attempts=attempts, why=reason)
        self._context.reporter.note(
            f"task {task_id}: its state could not be written in {attempts} tries ({reason}); "
            "manifests and history are complete; retrying until it is written"
        )
        return []

    def _release_marker(self, run_id: str) -> list[Stimulus]:
        reader = self._context.runs[run_id].reader
        try:
            if reader.verdict is not None and not reader.verdict.data.get(FROM_HISTORY):
                # Hooks are on disk before the run's marker is removed. A verdict from the history
                # owes none: they were started when it was recorded.
                self._context.hooks.owe(reader.spec, dict(reader.verdict.data))
            self._context.persistence.forget(run_id)
        except (OSError, TypedError) as error:  # its marker stays: the next start settles it again
            self._context.log.write("forget_failed", run_id=run_id, why=str(error))
        self._context.remove(run_id)
        return []
