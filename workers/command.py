"""A command stage with its tries, logs and error file, each told to the journal."""

import os
import select
import time
from typing import Any

from workers.capture import BoundedLog, Pipe
from workers.failure import Failure, write_error_file
from workers.masking import Mask, secret_values
from workers.outcome import StageOutcome
from workers.recorder import Bench, Recorder
from workers.records.clock import utc_text
from workers.records.journal import Event
from workers.records.limits import SUMMARY_LIMIT_CHARS
from workers.records.spec import StageSpec
from workers.stage import REFRESH_S, Ending, Try, Work
from workers.tried import Tried, message_of, stage_facts


class CommandStage:
    """Runs one command stage.

    Args:
        bench: the run.
        recorder: writes the facts.
        index: the stage's place, from 1.
        stage: what to run.
    """

    def __init__(self, bench: Bench, recorder: Recorder, index: int, stage: StageSpec) -> None:
        self._bench = bench
        self._recorder = recorder
        self._index = index
        self._stage = stage
        self._argv = _argv(stage)
        self._env = self._environment()
        secrets = secret_values(bench.spec.secrets, self._env)
        self._secrets = secrets
        self._mask = Mask(secrets) if secrets else None

    def _environment(self) -> dict[str, str]:
        bench, stage = self._bench, self._stage
        return {
            **os.environ,
            **dict(bench.spec.pipeline.env),
            **dict(stage.env),
            "SUPERVISED_RUN_ID": bench.spec.run_id,
            "SUPERVISED_TASK_ID": bench.spec.task_id,
            "SUPERVISED_PIPELINE_ID": bench.spec.pipeline.id,
            "SUPERVISED_STAGE_ID": stage.id,
            "SUPERVISED_RUN_DIR": bench.run.path,
            "SUPERVISED_ROOT": bench.layout.root,
        }

    def run(self, pipeline_deadline: float | None) -> StageOutcome:
        """Run the stage, with its retries.

        Args:
            pipeline_deadline: when the whole pipeline is timed out, on the monotonic clock.
        """
        retries = self._stage.retries
        number = 0
        while True:
            number += 1
            deadline = self._deadline(pipeline_deadline)
            about = {"stage": self._stage.id, "index": self._index, "try": number}
            self._recorder.fact(Event.STAGE_STARTED, about, flush=False)
            tried = self._try(about, deadline)
            out_of_time = tried.reason == "timed-out" and deadline == pipeline_deadline
            if number >= retries.attempts or out_of_time or not self._may_retry(tried):
                return self._finish(tried, deadline)
            wait_s = min(retries.delay_s * retries.factor ** (number - 1), retries.max_delay_s)
            self._set_aside(number)
            facts = stage_facts(tried, "failed")
            self._recorder.fact(Event.STAGE_RETRIED, {**facts, "delay_s": wait_s})
            if self._wait(wait_s, pipeline_deadline) is not None:
                tried.reason = "cancelled"
                return self._finish(tried, deadline)

    def _deadline(self, pipeline_deadline: float | None) -> float | None:
        if self._stage.timeout_s is None:
            return pipeline_deadline
        own = time.monotonic() + self._stage.timeout_s
        return own if pipeline_deadline is None else min(own, pipeline_deadline)

    def _try(self, about: dict[str, Any], deadline: float | None) -> Tried:
        bench, limits = self._bench, self._bench.spec.limits
        logs = [
            BoundedLog(
                bench.run.stage_log(self._index, self._stage.id, stream),
                limits.stream_limit_bytes,
                Mask(self._secrets) if self._secrets else None,
            )
            for stream in ("stdout", "stderr")
        ]
        pipes = [Pipe(log) for log in logs]
        cwd = self._stage.cwd or bench.spec.pipeline.cwd or ""
        work = Work(
            argv=self._argv,
            cwd=os.path.normpath(os.path.join(bench.layout.root, cwd)),
            env={**self._env, "SUPERVISED_TRY": str(about["try"])},
            deadline_mono_s=deadline,
            grace_s=limits.grace_s,
            refresh_s=min(REFRESH_S, limits.heartbeat_interval_s),
        )
        try:
            ending = Try(work, bench.control, pipes[0], pipes[1]).run()
        finally:
            for pipe in pipes:
                pipe.close()
        for log in logs:
            if log.error is not None:
                warning = {"code": "log_incomplete", "message": log.error}
                self._recorder.fact(Event.WARNING, warning, flush=False)
        tried = Tried(about=about, ending=ending, stdout=logs[0], stderr=logs[1])
        tried.reason = self._reason(ending)
        return tried

    def _reason(self, ending: Ending) -> str | None:
        if ending.reason is not None:
            return ending.reason
        if ending.exit_code is not None and ending.exit_code in self._stage.success_exit_codes:
            return None
        return "command-failed"

    def _may_retry(self, tried: Tried) -> bool:
        if tried.reason in (None, "cancelled"):
            return False
        codes = self._stage.retries.on_exit_codes
        return codes is None or tried.ending.exit_code in codes

    def _set_aside(self, number: int) -> None:
        """Keep the logs of a try that will be made again."""
        run, stage = self._bench.run, self._stage.id
        for stream in ("stdout", "stderr"):
            path = run.stage_log(self._index, stage, stream)
            if os.path.lexists(path):
                os.rename(path, run.stage_log(self._index, stage, stream, earlier_try=number))

    def _wait(self, wait_s: float, pipeline_deadline: float | None) -> str | None:
        """Wait before the next try; returns the detail of a wish to stop."""
        control = self._bench.control
        until = time.monotonic() + wait_s
        if pipeline_deadline is not None:
            until = min(until, pipeline_deadline)
        while (detail := control.look()) is None and (left := until - time.monotonic()) > 0:
            select.select([control.bell_fd], [], [], left)
        return detail

    def _finish(self, tried: Tried, deadline: float | None) -> StageOutcome:
        stage, reason = self._stage, tried.reason
        if reason is None:
            facts = stage_facts(tried, "succeeded")
            facts["summary"] = stage.summary_hint and stage.summary_hint[:SUMMARY_LIMIT_CHARS]
            self._recorder.fact(Event.STAGE_ENDED, facts)
            return StageOutcome(status="succeeded")
        status = "skipped" if stage.allow_failure and reason != "cancelled" else "failed"
        message = message_of(tried, self._mask)
        facts = stage_facts(tried, status)
        facts["summary"] = message[:SUMMARY_LIMIT_CHARS]
        facts["error_file"] = self._error_file(tried, message)
        self._recorder.fact(Event.STAGE_ENDED, facts)
        return StageOutcome(
            status=status,
            reason=reason,
            message=f"{stage.id}: {message}",
            timed_out_mono_s=deadline if reason == "timed-out" else None,
            leftover_pids=tuple(tried.ending.leftover_pids),
        )

    def _error_file(self, tried: Tried, message: str) -> str | None:
        """Write the error file and tell its path; a disk that refuses is warned of."""
        bench = self._bench
        path = bench.run.error_file(self._index, self._stage.id)
        command = self._stage.command
        failure = Failure(
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
            write_error_file(
                path,
                failure,
                stdout=tried.stdout,
                stderr=tried.stderr,
                limits=bench.spec.limits,
                mask=self._mask,
            )
        except OSError as error:
            warning = {"code": "error_file_failed", "message": f"{path}: {error.strerror}"}
            self._recorder.fact(Event.WARNING, warning, flush=False)
            return None
        return bench.layout.relative(path)


def _argv(stage: StageSpec) -> tuple[str, ...]:
    if isinstance(stage.command, str):
        return ("/bin/sh", "-c", stage.command)
    return stage.command or ()
