"""A command stage with its tries, logs and error file, each recorded in the journal."""

import contextlib
import os
import time
from collections import deque
from typing import Any

from workers.output.capture import BoundedLog, new_mark_key
from workers.output.error_file import StageFailure, write_error_file
from workers.output.masking import Mask, secret_values
from workers.output.pipe import Pipe
from workers.processes.spawn import argv_of
from workers.processes.tree import reason_alive
from workers.records.atomic import replace_file
from workers.records.clock import utc_text
from workers.records.files import make_private, sync_dir
from workers.records.journal import Event
from workers.records.params import param_variable
from workers.records.spec import StageSpec
from workers.records.typed_errors import TypedError
from workers.stages.results import (
    ProcessResult,
    StageOutcome,
    TryResult,
    failure_message,
    stage_facts,
)
from workers.stages.scheduler import StageTask, WaitUntil
from workers.stages.stage_context import StageContext
from workers.stages.try_runner import REFRESH_S, TryCommand, TryRunner

_STREAMS = ("stdout", "stderr")


class CommandStage:
    """Runs one command stage.

    Args:
        context: the run.
        index: the stage's place, from 1.
        stage: the stage.
    """

    def __init__(self, context: StageContext, index: int, stage: StageSpec) -> None:
        self._context = context
        self._recorder = context.recorder
        self._index = index
        self._stage = stage
        self._about: dict[str, Any] = {"stage": stage.id, "index": index, "try": 1}
        self._env = self._environment()
        # Tries of a stage share the stream's limit: half for the newest, half for all earlier ones.
        limit_bytes = context.spec.limits.stream_limit_bytes
        self._log_limit_bytes = limit_bytes // 2 if stage.retries.attempts > 1 else limit_bytes
        self._earlier: dict[str, deque[tuple[str, int]]] = {name: deque() for name in _STREAMS}
        self._secrets = secret_values(context.spec.secrets, self._env)
        self._mask = self._new_mask()

    def _new_mask(self) -> Mask | None:
        """A new mask; each stream needs its own, because a mask holds bytes back."""
        return Mask(self._secrets) if self._secrets else None

    def _environment(self) -> dict[str, str]:
        context, stage = self._context, self._stage
        return {
            **context.environ,
            **dict(context.spec.pipeline.env),
            **dict(stage.env),
            **dict(context.spec.env),
            **{param_variable(name): value for name, value in context.spec.params},
            "SUPERVISED_RUN_ID": context.spec.run_id,
            "SUPERVISED_TASK_ID": context.spec.task_id,
            "SUPERVISED_PIPELINE_ID": context.spec.pipeline.id,
            "SUPERVISED_STAGE_ID": stage.id,
            "SUPERVISED_RUN_DIR": context.run.path,
            "SUPERVISED_ROOT": context.layout.root,
            "SUPERVISED_ROOT_ID": context.root_id,
        }

    def run(self, pipeline_deadline: float | None) -> StageTask[StageOutcome]:
        """Run the stage with its retries.

        Args:
            pipeline_deadline: the whole pipeline's deadline on the monotonic clock.
        """
        number = 0
        while True:
            number += 1
            deadline = self._deadline(pipeline_deadline)
            self._about = {**self._about, "try": number}
            key = new_mark_key()
            # Created before a fact implies that they exist.
            logs = (self._log("stdout", key), self._log("stderr", key))
            started = {**self._about, "mark_key": key}
            if self._stage.retries.attempts > 1:
                started["log_limit_bytes"] = self._log_limit_bytes
            self._recorder.record(Event.STAGE_STARTED, started, flush=False)
            result = yield from self._try(deadline, logs)
            late = result.reason == "timed-out" and deadline == pipeline_deadline
            wait_s = None if late else self._wait_s(number, result, pipeline_deadline)
            if wait_s is None or not (yield from self._may_retry(number, result, wait_s)):
                return self._finish(result, late=late)

    def _deadline(self, pipeline_deadline: float | None) -> float | None:
        if self._stage.timeout_s is None:
            return pipeline_deadline
        own = time.monotonic() + self._stage.timeout_s
        return own if pipeline_deadline is None else min(own, pipeline_deadline)

    def _try(
        self, deadline: float | None, logs: tuple[BoundedLog, BoundedLog]
    ) -> StageTask[TryResult]:
        context, limits = self._context, self._context.spec.limits
        cwd = self._stage.cwd or context.spec.pipeline.cwd or ""
        command = TryCommand(
            stage_id=self._stage.id,
            argv=argv_of(self._stage.command or ()),
            cwd=os.path.normpath(os.path.join(context.layout.root, cwd)),
            env={**self._env, "SUPERVISED_TRY": str(self._about["try"])},
            nice=self._stage.nice or 0,
            deadline_mono_s=deadline,
            grace_s=limits.grace_s,
            refresh_s=min(REFRESH_S, limits.heartbeat_interval_s),
        )
        with contextlib.ExitStack() as stack:
            pipes: list[Pipe] = []
            for log in logs:
                stack.callback(log.close)
            try:
                for log in logs:
                    pipes.append(Pipe(log))
                    stack.callback(pipes[-1].close)
            except OSError as error:  # no descriptor left, here or in the whole system
                message = f"there is no pipe for its output: {error.strerror}"
                process = ProcessResult(reason="spawn-failed", message=message)
            else:
                runner = TryRunner(command, context.control, context.containment, *pipes)
                process = yield from runner.run()
        with contextlib.suppress(OSError):
            sync_dir(context.run.commands)  # the logs' names: the next fact refers to them
        for pid in process.leftover_pids:
            self._recorder.warn("leftover_alive", f"{self._stage.id}: {reason_alive(pid)}")
        for log in logs:
            if log.error is not None:
                self._recorder.warn("log_incomplete", log.error)
        return TryResult(
            about=self._about,
            process=process,
            stdout=logs[0],
            stderr=logs[1],
            reason=self._reason(process),
        )

    def _log(self, stream: str, mark_key: str) -> BoundedLog:
        path = self._context.run.stage_log(self._index, self._stage.id, stream)
        if self._about["try"] > 1:  # the file is also the previous try's log, by a second name
            try:
                replace_file(path, b"", flush=False)
            except (OSError, TypedError):  # for example a full disk: no log for a moment
                with contextlib.suppress(OSError):
                    os.unlink(path)
        return BoundedLog(path, self._log_limit_bytes, self._new_mask(), mark_key)

    def _reason(self, process: ProcessResult) -> str | None:
        if process.reason is not None:
            return process.reason
        if process.exit_code is not None and process.exit_code in self._stage.success_exit_codes:
            return None
        return "command-failed"

    def _wait_s(
        self, number: int, result: TryResult, pipeline_deadline: float | None
    ) -> float | None:
        """How long to wait before the next try; None if there is none."""
        retries = self._stage.retries
        if result.reason in (None, "cancelled") or number >= retries.attempts:
            return None
        codes = retries.on_exit_codes
        if codes is not None and result.process.exit_code not in codes:
            return None
        wait_s = retries.max_delay_s
        with contextlib.suppress(OverflowError):
            wait_s = min(retries.delay_s * retries.factor ** (number - 1), wait_s)
        # A wait beyond the pipeline's deadline is useless: this failure is the result.
        too_late = pipeline_deadline is not None and time.monotonic() + wait_s >= pipeline_deadline
        return None if too_late else wait_s

    def _may_retry(self, number: int, result: TryResult, wait_s: float) -> StageTask[bool]:
        """Record a failed try and wait for the next; False if the run must end."""
        control = self._context.control
        until = time.monotonic() + wait_s
        if control.detail is None:
            self._keep_logs(number)
            facts = stage_facts(result, "failed", summary=failure_message(result, self._mask))
            self._recorder.record(Event.STAGE_RETRIED, {**facts, "delay_s": wait_s}, flush=False)
            while control.detail is None and time.monotonic() < until:
                yield WaitUntil(until)
            if control.detail is None:
                return True
        result.reason = "cancelled"
        return False

    def _keep_logs(self, number: int) -> None:
        """Give the logs of a try that will be retried a second name.

        Until the next try begins they are still the stage's logs, too, so the stage has logs at
        every moment, also if this process dies. The oldest ones are removed if all together exceed
        the limit of earlier tries.
        """
        run, stage_id = self._context.run, self._stage.id
        for stream in _STREAMS:
            path = run.stage_log(self._index, stage_id, stream)
            kept = run.stage_log(self._index, stage_id, stream, earlier_try=number)
            try:
                os.link(path, kept)
                size_bytes = os.stat(kept, follow_symlinks=False).st_size
            except OSError as error:
                self._recorder.warn("log_not_kept", f"{path}: {error.strerror}")
                continue
            earlier = self._earlier[stream]
            earlier.append((kept, size_bytes))
            while sum(size for _, size in earlier) > self._log_limit_bytes:
                with contextlib.suppress(OSError):
                    os.unlink(earlier.popleft()[0])

    def _finish(self, result: TryResult, *, late: bool) -> StageOutcome:
        stage, reason = self._stage, result.reason
        if reason is None:
            facts = stage_facts(result, "succeeded", summary=stage.summary_hint)
            self._recorder.record(Event.STAGE_ENDED, facts)
            return StageOutcome(status="succeeded")
        ends_run = reason == "cancelled" or late
        status = "skipped" if stage.allow_failure and not ends_run else "failed"
        message = failure_message(result, self._mask)
        self._record_failure(result, status, message)
        message = f"{stage.id}: {message}"
        return StageOutcome(status=status, reason=reason, message=message, ended_pipeline=late)

    def fail(self, message: str) -> None:
        """Record that the worker failed while this stage ran."""
        result = TryResult(about=self._about, reason="internal-error")
        self._record_failure(result, "failed", message)

    def _record_failure(self, result: TryResult, status: str, message: str) -> None:
        error_file = self._write_error_file(result, message)
        facts = stage_facts(result, status, summary=message, error_file=error_file)
        self._recorder.record(Event.STAGE_ENDED, facts)

    def _write_error_file(self, result: TryResult, message: str) -> str | None:
        """Write the error file and return its path; if the disk refuses, record a warning."""
        context, command = self._context, self._stage.command
        path = context.run.error_file(self._index, self._stage.id)
        failure = StageFailure(
            run_id=context.spec.run_id,
            task_id=context.spec.task_id,
            index=self._index,
            stage_id=self._stage.id,
            command=command if isinstance(command, str) else " ".join(command or ()),
            reason=result.reason or "",
            message=message,
            exit_code=result.process.exit_code,
            signal=result.process.signal,
            created_at=utc_text(context.clock.epoch_s()),
        )
        try:
            make_private(context.run.errors)
            write_error_file(
                path,
                failure,
                stdout=result.stdout,
                stderr=result.stderr,
                limits=context.spec.limits,
                mask=self._mask,
            )
        except (OSError, TypedError) as error:
            self._recorder.warn("error_file_failed", f"{path}: {error}")
            return None
        return context.layout.relative(path)
