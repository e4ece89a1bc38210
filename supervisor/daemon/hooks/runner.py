"""Hooks: commands that start when a run is recorded, each at most once; nothing waits for them.

A marker in ``.supervisor/hooks/`` is created and flushed before the run's own marker is removed;
it stays until all hooks of the run have ended. Each hook is claimed in the run's directory
(``hooks/<event>.json``, replaced whole and flushed) before it is started. After a crash between the
two, the hook may have begun: it is never started again, and the next start records that. A hook
that was not claimed is started by the next start. A record that the disk refuses is owed and
written later; the run's next hook waits for it. No hook changes anything about its run.
"""

import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from supervisor.daemon.hooks.hook_process import HookEnd, HookProcess
from supervisor.daemon.hooks.hook_results import HookRecords, PendingHooks, verdict_of
from supervisor.store.log import Log
from workers.output.masking import Mask, secret_values
from workers.processes.stage_members import is_of_run
from workers.processes.tree import Process, environment
from workers.records.atomic import replace_file, to_bytes, write_marker
from workers.records.files import is_dir, make_private, read_marker, read_object, sync_dir
from workers.records.hooks import HookSpec
from workers.records.identity import Identity, identity_of, is_alive
from workers.records.ids import id_problem, is_run_id
from workers.records.json_reader import JsonReader
from workers.records.layout import Layout, RunDir
from workers.records.proc import proc_stat
from workers.records.request import now_text
from workers.records.spec import RunSpec, load_spec
from workers.records.typed_errors import TypedError

SCHEMA: Final = "pipeline-supervisor/hook/1"
AT_ONCE_COUNT: Final = 4  # many runs that end at once must not start as many hooks
POLL_S: Final = 0.05  # a poll costs three system calls if a hook runs, else none
SHUTDOWN_S: Final = 5.0  # time for a running hook when the supervisor is asked to exit

INTERRUPTED: Final = "the supervisor ended while it ran, or right before; it is not started again"

_STATUS_TEXTS: Final = {
    "timed-out": "timed out",
    "stopped": "was stopped",
    "not-started": "was not started",
}


class Hooks:
    """Starts and watches hooks. Only the supervisor has one.

    Args:
        layout: the root.
        log: gets the end of every hook.
        report: called with a message for each hook that failed.
        root_id: identity of the root.
        sweep: removes the temporary files of dead writers from a directory.
        timeout_s: time limit of a hook in seconds.
        owed_wait_s: how long ``start --once`` waits for a record that the disk refuses.
    """

    def __init__(
        self,
        layout: Layout,
        log: Log,
        report: Callable[[str], None],
        *,
        root_id: str,
        sweep: Callable[[str], int],
        timeout_s: float,
        owed_wait_s: float,
    ) -> None:
        self._layout = layout
        self._log = log
        self._report = report
        self._root_id = root_id
        self._sweep = sweep
        self.timeout_s = timeout_s
        self._queue: deque[PendingHooks] = deque()
        self._records = HookRecords(log, owed_wait_s)
        self._known: set[str] = set()
        self._running: list[tuple[PendingHooks, HookSpec, HookProcess, dict[str, Any]]] = []

    @property
    def is_busy(self) -> bool:
        """A hook runs or waits to be started, or a record is owed and must be waited for."""
        return bool(self._queue or self._running) or self._records.is_busy

    def due_mono_s(self) -> float | None:
        """When to poll next, None if there is nothing to poll."""
        return time.monotonic() + POLL_S if self.is_busy else None

    def processes(self) -> tuple[Process, ...]:
        """The processes of running hooks."""
        return tuple(process.process for _, _, process, _ in self._running)

    def owe(self, spec: RunSpec, verdict: dict[str, Any]) -> None:
        """Owe the hooks of a run that is in history and state, also after a crash.

        Raises:
            OSError, BadFileError: the marker could not be written; nothing was started.
        """
        if not spec.hooks_due(str(verdict.get("status"))) or spec.run_id in self._known:
            return
        make_private(self._layout.hooks)
        write_marker(self._layout.hook_marker(spec.run_id), spec.task_id)
        sync_dir(self._layout.hooks)
        self._enqueue(spec, verdict)

    def recover(self) -> None:
        """Queue the hooks that earlier supervisors owed. Call once, before ``poll``."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for name in sorted(os.listdir(self._layout.hooks)):
                if is_run_id(name):
                    self._recover_run(name)

    def _recover_run(self, run_id: str) -> None:
        try:
            task_id = read_marker(self._layout.hook_marker(run_id))
            if (
                id_problem(task_id) is not None
            ):  # torn: the run is not settled and will owe its hooks again
                self._done(run_id)
                return
            run = self._layout.run_dir(task_id, run_id)
            self._sweep(run.hooks)
            manifest = read_object(run.manifest)
            self._enqueue(load_spec(run.spec), verdict_of(manifest))
        except FileNotFoundError:  # the run's directory is gone
            self._log.write("hooks_dropped", run_id=run_id)
            self._done(run_id)
        except (OSError, TypedError) as error:
            self._log.write("hooks_unreadable", run_id=run_id, why=str(error))

    def _enqueue(self, spec: RunSpec, verdict: dict[str, Any]) -> None:
        if spec.run_id in self._known:
            return
        status = str(verdict.get("status"))
        facts = {
            "STATUS": status,
            "STATUS_DETAIL": str(verdict.get("detail") or ""),
            "REASON": str(verdict.get("reason") or ""),
            "DURATION_S": str(verdict.get("duration_s") or ""),
        }
        self._known.add(spec.run_id)
        left = deque(spec.hooks_due(status))
        self._queue.append(PendingHooks(spec=spec, facts=facts, left=left))

    def poll(self) -> None:
        """Check running hooks, and start those that may start. Never waits."""
        for entry in list(self._running):
            pending, hook, process, record = entry
            end = process.poll()
            if end is not None:
                self._running.remove(entry)
                if self._ended(pending, hook, record, end):
                    self._queue.append(pending)
        self._queue += self._records.paid()
        waiting = len(self._queue)
        while self._queue and waiting and len(self._running) < AT_ONCE_COUNT:
            waiting -= 1
            self._next(self._queue.popleft())

    def shut_down(self) -> None:
        """Leave waiting hooks to the next start, and limit the time of running ones."""
        self._queue.clear()
        for _, _, process, _ in self._running:
            process.limit_wait(SHUTDOWN_S)
        self._records.limit_wait(SHUTDOWN_S)

    def _next(self, pending: PendingHooks) -> None:
        """Claim and start the run's next hook, or finish the run."""
        run = self._layout.run_dir(pending.spec.task_id, pending.spec.run_id)
        while pending.left:
            hook = pending.left[0]
            record = {
                "schema": SCHEMA,
                "run_id": run.run_id,
                "hook": str(hook.on),
                "command": hook.command,
                "status": "started",
                "started_at": now_text(),
            }
            if os.path.lexists(run.hook(hook.on)):
                pending.left.popleft()
                if not self._close_claim(pending, run, hook):
                    return
                continue
            try:
                if is_dir(run.path):  # a deleted run directory is not created again
                    make_private(run.hooks)
                replace_file(run.hook(hook.on), to_bytes(record))
            except (OSError, TypedError) as error:  # not claimed: the next start claims it
                self._log.write("hook_postponed", run_id=run.run_id, why=str(error))
                return
            pending.left.popleft()
            if self._start(pending, hook, run, record):
                return
        self._done(run.run_id)

    def _start(
        self, pending: PendingHooks, hook: HookSpec, run: RunDir, record: dict[str, Any]
    ) -> bool:
        """Start a claimed hook; True if the run's next hook must wait."""
        env = self._environment(pending, hook, run)
        secrets = secret_values(pending.spec.secrets, env)
        try:
            process = HookProcess(
                hook.command,
                cwd=self._layout.root,
                env=env,
                stdin_path=run.manifest,
                timeout_s=self.timeout_s,
                mask=Mask(secrets) if secrets else None,
            )
        except (OSError, ValueError, TypedError) as error:
            reason = Mask(secrets).text(_reason(error)) if secrets else _reason(error)
            end = HookEnd(status="not-started", reason=reason)
            return not self._ended(pending, hook, record, end)
        identity = identity_of(process.process[0])
        if identity is not None:
            record = {**record, "process": identity.to_json()}
            with contextlib.suppress(OSError, TypedError):  # only for a start after a crash
                # The data is flushed, since it replaces a flushed claim; its name need not be.
                replace_file(run.hook(hook.on), to_bytes(record), flush_name=False)
        self._running.append((pending, hook, process, record))
        return True

    def _environment(self, pending: PendingHooks, hook: HookSpec, run: RunDir) -> dict[str, str]:
        spec = pending.spec
        about = {
            "RUN_ID": spec.run_id,
            "TASK_ID": spec.task_id,
            "PIPELINE_ID": spec.pipeline.id,
            "RUN_DIR": run.path,
            "ROOT": self._layout.root,
            "ROOT_ID": self._root_id,
            "MANIFEST": run.manifest,
            "HOOK": str(hook.on),
            **pending.facts,
        }
        ours = {f"SUPERVISED_{key}": text for key, text in about.items()}
        return {**os.environ, **dict(spec.pipeline.env), **ours}

    def _ended(
        self, pending: PendingHooks, hook: HookSpec, record: dict[str, Any], end: HookEnd
    ) -> bool:
        """Record and report a hook's end; False if the record is owed."""
        run = self._layout.run_dir(pending.spec.task_id, pending.spec.run_id)
        record = {
            **record,
            "status": end.status,
            "ended_at": now_text(),
            "exit_code": end.exit_code,
            "signal": end.signal,
            "duration_s": end.duration_s,
            "reason": end.reason,
            "output": end.output.decode("utf-8", "backslashreplace"),
            "output_dropped_bytes": end.dropped_bytes,
        }
        is_written = self._records.write(pending, run.hook(hook.on), record)
        how = end.reason or end.signal or f"exit code {end.exit_code}"
        self._log.write(
            "hook_ended",
            run_id=run.run_id,
            task_id=pending.spec.task_id,
            hook=str(hook.on),
            status=end.status,
            exit_code=end.exit_code,
            signal=end.signal,
            duration_s=end.duration_s,
            why=end.reason or "",
        )
        if end.status != "succeeded":
            status = _STATUS_TEXTS.get(end.status, end.status)
            self._report(f"{run.run_id}: its {hook.on} hook {status} ({how}); {run.hook(hook.on)}")
        return is_written

    def _close_claim(self, pending: PendingHooks, run: RunDir, hook: HookSpec) -> bool:
        """Complete the record of an earlier supervisor's interrupted hook; False if it is owed."""
        try:
            record = read_object(run.hook(hook.on))
        except (OSError, TypedError):
            record = {"schema": SCHEMA, "run_id": run.run_id, "hook": str(hook.on)}
            record |= {"command": hook.command, "status": "started", "started_at": None}
        if record.get("status") != "started":
            return True
        with contextlib.suppress(TypedError):
            self._kill_group(run.run_id, record)
        self._log.write("hook_interrupted", run_id=run.run_id, hook=str(hook.on))
        record |= {"status": "interrupted", "reason": INTERRUPTED}
        return self._records.write(pending, run.hook(hook.on), record)

    def _kill_group(self, run_id: str, record: dict[str, Any]) -> None:
        """Kill the group of an earlier supervisor's hook, if it is proven to be of this root."""
        if not isinstance(record.get("process"), dict):
            return
        identity: Identity = Identity.from_fields(JsonReader(record, "hook").child("process"))
        stat = proc_stat(identity.pid) if is_alive(identity) else None
        if stat is None or stat.pgid != identity.pid:
            return
        root, root_id = self._layout.root, self._root_id
        if is_of_run(environment(identity.pid, stat), run_id, root=root, root_id=root_id):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(identity.pid, signal.SIGKILL)

    def _done(self, run_id: str) -> None:
        with contextlib.suppress(OSError):  # if the marker stays, every hook is claimed
            os.unlink(self._layout.hook_marker(run_id))
        self._known.discard(run_id)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
