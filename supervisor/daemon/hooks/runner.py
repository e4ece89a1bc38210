"""Hooks: what is started when a run is on record, at most once each, and without anybody waiting.

A marker in ``.supervisor/hooks/`` is made, and flushed, before a run leaves the supervisor's hands;
it stays until all its hooks have ended. Each hook is claimed in the run's directory
(``hooks/<event>.json``, there whole or not at all, and flushed) before it is started: a crash
between the two leaves a hook that may have begun, and such a one is never started again; the next
start says so in its file. A hook that was not claimed is started by the next start. A record that
the disk refuses is owed and written later; the run's next hook waits for it. What a hook does or
fails to do changes nothing of its run.
"""

import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from supervisor.daemon.hooks.hook_process import HookEnd, HookProcess
from supervisor.daemon.hooks.hook_results import HookRecords, verdict_of
from supervisor.store.log import Log
from workers.output.masking import Mask, secret_values
from workers.processes.stage_members import is_of_run
from workers.processes.tree import Process, environment
from workers.records.atomic import replace_file, to_bytes, write_marker
from workers.records.files import (
    is_dir,
    make_private,
    read_marker,
    read_object,
    sync_dir,
)
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
AT_ONCE_COUNT: Final = 4  # they tell others; a storm of endings must not become one of processes
POLL_S: Final = 0.05  # a poll costs three system calls, and none where no hook runs
LEAVING_S: Final = 5.0  # a supervisor that was told to end gives a hook so long

INTERRUPTED: Final = "the supervisor ended while it ran, or right before; it is not started again"

_TOLD: Final = {
    "timed-out": "timed out",
    "stopped": "was stopped",
    "not-started": "was not started",
}


@dataclass(slots=True, kw_only=True)
class _PendingHooks:
    """A run with hooks to start.

    Attributes:
        facts: of its verdict, for the environment.
        left: the hooks that were not claimed yet.
    """

    spec: RunSpec
    facts: dict[str, str]
    left: deque[HookSpec] = field(default_factory=deque)


class Hooks:
    """Starts hooks and looks after them. Only the supervisor makes one.

    Args:
        layout: the root.
        log: where every end is told.
        tell: who is told of a hook that failed.
        root_id: identity of the root.
        sweep: removes the temporary files of dead writers from a directory.
        timeout_s: a hook may take so long.
        owed_wait_s: so long a record that the disk refuses keeps ``start --once`` from leaving.
    """

    def __init__(
        self,
        layout: Layout,
        log: Log,
        tell: Callable[[str], None],
        *,
        root_id: str,
        sweep: Callable[[str], int],
        timeout_s: float,
        owed_wait_s: float,
    ) -> None:
        self._layout = layout
        self._log = log
        self._tell = tell
        self._root_id = root_id
        self._sweep = sweep
        self.timeout_s = timeout_s
        self._queue: deque[_PendingHooks] = deque()
        self._records: HookRecords[_PendingHooks] = HookRecords(log, owed_wait_s)
        self._known: set[str] = set()
        self._running: list[tuple[_PendingHooks, HookSpec, HookProcess, dict[str, Any]]] = []

    @property
    def is_busy(self) -> bool:
        """Something runs, waits to be started, or is owed and worth waiting for."""
        return bool(self._queue or self._running) or self._records.is_busy

    def due_mono_s(self) -> float | None:
        """When to poll next, None where there is nothing to look after."""
        return time.monotonic() + POLL_S if self.is_busy else None

    def processes(self) -> tuple[Process, ...]:
        """Children of ours that are hooks."""
        return tuple(process.process for _, _, process, _ in self._running)

    def owe(self, spec: RunSpec, verdict: dict[str, Any]) -> None:
        """A run is in history and state: from here on its hooks are owed, also after a crash.

        Args:
            spec: the run.
            verdict: what its journal says of its end.

        Raises:
            OSError, BadFileError: it could not be noted; nothing was started.
        """
        if not spec.hooks_due(str(verdict.get("status"))) or spec.run_id in self._known:
            return
        make_private(self._layout.hooks)
        write_marker(self._layout.hook_marker(spec.run_id), spec.task_id)
        sync_dir(self._layout.hooks)
        self._enqueue(spec, verdict)

    def recover(self) -> None:
        """Take up what earlier supervisors owed. Call once, before ``poll``."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for name in sorted(os.listdir(self._layout.hooks)):
                if is_run_id(name):
                    self._take_up(name)

    def _take_up(self, run_id: str) -> None:
        try:
            task_id = read_marker(self._layout.hook_marker(run_id))
            if id_problem(task_id) is not None:  # torn: the run is not settled, and owes them anew
                self._done(run_id)
                return
            run = self._layout.run_dir(task_id, run_id)
            self._sweep(run.hooks)
            manifest = read_object(run.manifest)
            self._enqueue(load_spec(run.spec), verdict_of(manifest))
        except FileNotFoundError:  # its directory is gone, and what it would have told with it
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
        self._queue.append(_PendingHooks(spec=spec, facts=facts, left=left))

    def poll(self) -> None:
        """Look at what runs, and start what may be started. Never waits."""
        for entry in list(self._running):
            owed, hook, process, record = entry
            end = process.poll()
            if end is not None:
                self._running.remove(entry)
                if self._ended(owed, hook, record, end):
                    self._queue.append(owed)
        self._queue += self._records.paid()
        waiting = len(self._queue)
        while self._queue and waiting and len(self._running) < AT_ONCE_COUNT:
            waiting -= 1
            self._next(self._queue.popleft())

    def leave(self) -> None:
        """The supervisor was told to end: the next start has what waits, and what runs hurries."""
        self._queue.clear()
        for _, _, process, _ in self._running:
            process.hurry(LEAVING_S)
        self._records.hurry(LEAVING_S)

    def _next(self, owed: _PendingHooks) -> None:
        """Claim and start the run's next hook, or be done with the run."""
        run = self._layout.run_dir(owed.spec.task_id, owed.spec.run_id)
        while owed.left:
            hook = owed.left[0]
            record = {
                "schema": SCHEMA,
                "run_id": run.run_id,
                "hook": str(hook.on),
                "command": hook.command,
                "status": "started",
                "started_at": now_text(),
            }
            if os.path.lexists(run.hook(hook.on)):
                owed.left.popleft()
                if not self._settle(owed, run, hook):
                    return
                continue
            try:
                if is_dir(run.path):  # else it fails below: a directory is not made anew for it
                    make_private(run.hooks)
                replace_file(run.hook(hook.on), to_bytes(record))
            except (OSError, TypedError) as error:  # not claimed: the next start claims it
                self._log.write("hook_postponed", run_id=run.run_id, why=str(error))
                return
            owed.left.popleft()
            if self._start(owed, hook, run, record):
                return
        self._done(run.run_id)

    def _start(
        self, owed: _PendingHooks, hook: HookSpec, run: RunDir, record: dict[str, Any]
    ) -> bool:
        """Start a claimed hook; True if the run's next one has to wait."""
        env = self._environment(owed, hook, run)
        secrets = secret_values(owed.spec.secrets, env)
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
            why = Mask(secrets).text(_why(error)) if secrets else _why(error)
            return not self._ended(owed, hook, record, HookEnd(status="not-started", reason=why))
        who = identity_of(process.process[0])
        if who is not None:
            record = {**record, "process": who.to_json()}
            with contextlib.suppress(OSError, TypedError):  # only helps a start after a crash
                # Flushed, since it takes the place of a claim that is; its name may be lost.
                replace_file(run.hook(hook.on), to_bytes(record), flush_name=False)
        self._running.append((owed, hook, process, record))
        return True

    def _environment(self, owed: _PendingHooks, hook: HookSpec, run: RunDir) -> dict[str, str]:
        spec = owed.spec
        about = {
            "RUN_ID": spec.run_id,
            "TASK_ID": spec.task_id,
            "PIPELINE_ID": spec.pipeline.id,
            "RUN_DIR": run.path,
            "ROOT": self._layout.root,
            "ROOT_ID": self._root_id,
            "MANIFEST": run.manifest,
            "HOOK": str(hook.on),
            **owed.facts,
        }
        ours = {f"SUPERVISED_{key}": text for key, text in about.items()}
        return {**os.environ, **dict(spec.pipeline.env), **ours}

    def _ended(
        self, owed: _PendingHooks, hook: HookSpec, record: dict[str, Any], end: HookEnd
    ) -> bool:
        """Put a hook's end on record and say it; False if the record is owed."""
        run = self._layout.run_dir(owed.spec.task_id, owed.spec.run_id)
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
        is_written = self._records.write(owed, run.run_id, run.hook(hook.on), record)
        how = end.reason or end.signal or f"exit code {end.exit_code}"
        self._log.write(
            "hook_ended",
            run_id=run.run_id,
            task_id=owed.spec.task_id,
            hook=str(hook.on),
            status=end.status,
            exit_code=end.exit_code,
            signal=end.signal,
            duration_s=end.duration_s,
            why=end.reason or "",
        )
        if end.status != "succeeded":
            where = run.hook(hook.on)
            what = _TOLD.get(end.status, end.status)
            self._tell(f"{run.run_id}: its {hook.on} hook {what} ({how}); {where}")
        return is_written

    def _settle(self, owed: _PendingHooks, run: RunDir, hook: HookSpec) -> bool:
        """Close a claim of an earlier supervisor whose hook has no end; False if it is owed."""
        try:
            record = read_object(run.hook(hook.on))
        except (OSError, TypedError):
            record = {"schema": SCHEMA, "run_id": run.run_id, "hook": str(hook.on)}
            record |= {"command": hook.command, "status": "started", "started_at": None}
        if record.get("status") != "started":
            return True
        with contextlib.suppress(TypedError):
            self._end_group(run.run_id, record)
        self._log.write("hook_interrupted", run_id=run.run_id, hook=str(hook.on))
        record |= {"status": "interrupted", "reason": INTERRUPTED}
        return self._records.write(owed, run.run_id, run.hook(hook.on), record)

    def _end_group(self, run_id: str, record: dict[str, Any]) -> None:
        """Kill what an earlier supervisor's hook still runs, if it is proven to be of this root."""
        if not isinstance(record.get("process"), dict):
            return
        who: Identity = Identity.from_fields(JsonReader(record, "hook").child("process"))
        stat = proc_stat(who.pid) if is_alive(who) else None
        if stat is None or stat.pgid != who.pid:
            return
        root, root_id = self._layout.root, self._root_id
        if is_of_run(environment(who.pid, stat), run_id, root=root, root_id=root_id):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(who.pid, signal.SIGKILL)

    def _done(self, run_id: str) -> None:
        with contextlib.suppress(OSError):  # a marker that stays finds every hook claimed
            os.unlink(self._layout.hook_marker(run_id))
        self._known.discard(run_id)


def _why(error: Exception) -> str:
    """Why nothing was started, in words."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
