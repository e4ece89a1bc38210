"""A command stage with its tries, logs and error file, each told to the journal."""

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
from workers.stages.outcome import StageOutcome
from workers.stages.scheduler import StageTask, WaitUntil
from workers.stages.stage_context import Recorder, StageContext
from workers.stages.try_result import TryResult, message_of, stage_facts
from workers.stages.try_runner import REFRESH_S, ProcessResult, TryCommand, TryRunner

_STREAMS = ("stdout", "stderr")


class CommandStage:
    """Runs one command stage.

    Args:
        bench: the run.
        recorder: writes the facts.
        index: the stage's place, from 1.
        stage: what to run.
    """

    def __init__(
        self, bench: StageContext, recorder: Recorder, index: int, stage: StageSpec
    ) -> None:
        self._bench = bench
        self._recorder = recorder
        self._index = index
        self._stage = stage
        self._about: dict[str, Any] = {"stage": stage.id, "index": index, "try": 1}
        self._env = self._environment()
        # Tries of one stage share the stream's limit: half for the newest, half for those before.
        limit_bytes = bench.spec.limits.stream_limit_bytes
        self._log_limit_bytes = limit_bytes // 2 if stage.retries.attempts > 1 else limit_bytes
        self._earlier: dict[str, deque[tuple[str, int]]] = {name: deque() for name in _STREAMS}
        self._secrets = secret_values(bench.spec.secrets, self._env)
        self._mask = self._new_mask()

    def _new_mask(self) -> Mask | None:
        """A mask of its own for each stream: it remembers what it held back."""
        return Mask(self._secrets) if self._secrets else None

    def _environment(self) -> dict[str, str]:
        bench, stage = self._bench, self._stage
        return {
            **bench.environ,
            **dict(bench.spec.pipeline.env),
            **dict(stage.env),
            **dict(bench.spec.env),
            **{param_variable(name): value for name, value in bench.spec.params},
            "SUPERVISED_RUN_ID": bench.spec.run_id,
            "SUPERVISED_TASK_ID": bench.spec.task_id,
            "SUPERVISED_PIPELINE_ID": bench.spec.pipeline.id,
            "SUPERVISED_STAGE_ID": stage.id,
            "SUPERVISED_RUN_DIR": bench.run.path,
            "SUPERVISED_ROOT": bench.layout.root,
            "SUPERVISED_ROOT_ID": bench.root_id,
        }

    def run(self, pipeline_deadline: float | None) -> StageTask[StageOutcome]:
        """Run the stage, with its retries.

        Args:
            pipeline_deadline: when the whole pipeline is timed out, on the monotonic clock.
        """
        number = 0
        while True:
            number += 1
            deadline = self._deadline(pipeline_deadline)
            self._about = {**self._about, "try": number}
            key = new_mark_key()
            # There before a fact implies them.
            logs = (self._log("stdout", key), self._log("stderr", key))
            started = {**self._about, "mark_key": key}
            if self._stage.retries.attempts > 1:
                started["log_limit_bytes"] = self._log_limit_bytes
            self._recorder.fact(Event.STAGE_STARTED, started, flush=False)
            tried = yield from self._try(deadline, logs)
            late = tried.reason == "timed-out" and deadline == pipeline_deadline
            wait_s = None if late else self._wait_s(number, tried, pipeline_deadline)
            if wait_s is None or not (yield from self._may_try_again(number, tried, wait_s)):
                return self._finish(tried, late=late)

    def _deadline(self, pipeline_deadline: float | None) -> float | None:
        if self._stage.timeout_s is None:
            return pipeline_deadline
        own = time.monotonic() + self._stage.timeout_s
        return own if pipeline_deadline is None else min(own, pipeline_deadline)

    def _try(
        self, deadline: float | None, logs: tuple[BoundedLog, BoundedLog]
    ) -> StageTask[TryResult]:
        bench, limits = self._bench, self._bench.spec.limits
        work = TryCommand(
            stage_id=self._stage.id,
            argv=argv_of(self._stage.command or ()),
            cwd=os.path.normpath(
                os.path.join(bench.layout.root, self._stage.cwd or bench.spec.pipeline.cwd or "")
            ),
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
            except OSError as error:  # no descriptor is left, here or in the whole system
                message = f"there is no pipe for its output: {error.strerror}"
                ending = ProcessResult(reason="spawn-failed", message=message)
            else:
                ending = yield from TryRunner(work, bench.control, bench.containment, *pipes).run()
        with contextlib.suppress(OSError):
            sync_dir(bench.run.commands)  # the logs' names: a fact is going to point to them
        for pid in ending.leftover_pids:
            self._recorder.warn("leftover_alive", f"{self._stage.id}: {reason_alive(pid)}")
        for log in logs:
            if log.error is not None:
                self._recorder.warn("log_incomplete", log.error)
        reason = self._reason(ending)
        return TryResult(
            about=self._about, ending=ending, stdout=logs[0], stderr=logs[1], reason=reason
        )

    def _log(self, stream: str, mark_key: str) -> BoundedLog:
        path = self._bench.run.stage_log(self._index, self._stage.id, stream)
        if self._about["try"] > 1:  # the log of the try before, by its second name, is not ours
            try:
                replace_file(path, b"", flush=False)
            except (OSError, TypedError):  # a full disk, say: then there is none for a moment
                with contextlib.suppress(OSError):
                    os.unlink(path)
        return BoundedLog(path, self._log_limit_bytes, self._new_mask(), mark_key)

    def _reason(self, ending: ProcessResult) -> str | None:
        if ending.reason is not None:
            return ending.reason
        if ending.exit_code is not None and ending.exit_code in self._stage.success_exit_codes:
            return None
        return "command-failed"

    def _wait_s(
        self, number: int, tried: TryResult, pipeline_deadline: float | None
    ) -> float | None:
        """How long to wait before the next try; None where there is to be none."""
        retries = self._stage.retries
        if tried.reason in (None, "cancelled") or number >= retries.attempts:
            return None
        codes = retries.on_exit_codes
        if codes is not None and tried.ending.exit_code not in codes:
            return None
        wait_s = retries.max_delay_s
        with contextlib.suppress(OverflowError):
            wait_s = min(retries.delay_s * retries.factor ** (number - 1), wait_s)
        # A wait that outlasts the pipeline is for nothing: what failed now is what is told.
        too_late = pipeline_deadline is not None and time.monotonic() + wait_s >= pipeline_deadline
        return None if too_late else wait_s

    def _may_try_again(self, number: int, tried: TryResult, wait_s: float) -> StageTask[bool]:
        """Tell of a failed try and wait for the next; False where somebody wants it ended."""
        control = self._bench.control
        until = time.monotonic() + wait_s
        if control.detail is None:
            self._set_aside(number)
            facts = stage_facts(tried, "failed", summary=message_of(tried, self._mask))
            self._recorder.fact(Event.STAGE_RETRIED, {**facts, "delay_s": wait_s}, flush=False)
            while control.detail is None and time.monotonic() < until:
                yield WaitUntil(until)
            if control.detail is None:
                return True
        tried.reason = "cancelled"
        return False

    def _set_aside(self, number: int) -> None:
        """Keep the logs of a try that will be made again: they get a second name.

        Until the next try begins they stay those of the stage too, so that there is no moment, and
        no end of this process, at which the stage has none. The oldest ones are removed if all of
        them are larger than what earlier tries may take.
        """
        run, stage = self._bench.run, self._stage.id
        for stream in _STREAMS:
            path = run.stage_log(self._index, stage, stream)
            kept = run.stage_log(self._index, stage, stream, earlier_try=number)
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

    def _finish(self, tried: TryResult, *, late: bool) -> StageOutcome:
        stage, reason = self._stage, tried.reason
        if reason is None:
            facts = stage_facts(tried, "succeeded", summary=stage.summary_hint)
            self._recorder.fact(Event.STAGE_ENDED, facts)
            return StageOutcome(status="succeeded")
        ends_run = reason == "cancelled" or late
        status = "skipped" if stage.allow_failure and not ends_run else "failed"
        message = message_of(tried, self._mask)
        error_file = self._error_file(tried, message)
        facts = stage_facts(tried, status, summary=message, error_file=error_file)
        self._recorder.fact(Event.STAGE_ENDED, facts)
        message = f"{stage.id}: {message}"
        return StageOutcome(status=status, reason=reason, message=message, ended_pipeline=late)

    def broken(self, message: str) -> None:
        """Tell that something of ours broke while this stage was on."""
        tried = TryResult(about=self._about, reason="internal-error")
        error_file = self._error_file(tried, message)
        facts = stage_facts(tried, "failed", summary=message, error_file=error_file)
        self._recorder.fact(Event.STAGE_ENDED, facts)

    def _error_file(self, tried: TryResult, message: str) -> str | None:
        """Write the error file and tell its path; a disk that refuses is warned of."""
        bench, command = self._bench, self._stage.command
        path = bench.run.error_file(self._index, self._stage.id)
        failure = StageFailure(
            run_id=bench.spec.run_id,
            task_id=bench.spec.task_id,
            index=self._index,
            stage_id=self._stage.id,
            command=command if isinstance(command, str) else " ".join(command or ()),
            reason=tried.reason or "",
            message=message,
            exit_code=tried.ending.exit_code,
            signal=tried.ending.signal,
            created_at=utc_text(bench.clock.epoch_s()),
        )
        try:
            make_private(bench.run.errors)
            write_error_file(
                path,
                failure,
                stdout=tried.stdout,
                stderr=tried.stderr,
                limits=bench.spec.limits,
                mask=self._mask,
            )
        except (OSError, TypedError) as error:
            self._recorder.warn("error_file_failed", f"{path}: {error}")
            return None
        return bench.layout.relative(path)
