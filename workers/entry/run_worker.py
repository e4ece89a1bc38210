"""Run one run to its verdict, in a process that is its worker."""

import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from workers.entry.prepare import PreparedRun, prepare_run
from workers.processes.containment import Containment
from workers.processes.fork_protocol import HostClient
from workers.processes.process_attributes import become_subreaper, raise_worker_score
from workers.records.claim import ClaimFile
from workers.records.clock import SystemClock
from workers.records.layout import RunDir, layout_of_run
from workers.records.spec import RunSpec
from workers.records.typed_errors import CannotBeginError, TypedError
from workers.stages.control import Control
from workers.stages.heartbeat_thread import HeartbeatThread
from workers.stages.pipeline import PipelineRun
from workers.stages.stage_context import Recorder, StageContext

BUG, BAD_USAGE, CANNOT_WRITE, NOT_OURS = 1, 2, 73, 75


def exit_fork(body: Callable[[], int]) -> NoReturn:
    """Run ``body`` in a session of its own and exit with its result, in a process just forked.

    An exception is printed as an interpreter prints it; the exit code is BUG.
    """
    code = BUG
    try:
        os.setsid()
        code = body()
    except BaseException:  # noqa: BLE001 - nothing may return into the parent's code
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def run_to_verdict(
    run: RunDir,
    owner_fd: int | None,
    prepared: PreparedRun | None = None,
    *,
    attempt: int = 1,
    claim: ClaimFile | None = None,
    host: HostClient | None = None,
) -> int:
    """Run one run; prints to stderr why it cannot be run. Call ``set_handlers`` before.

    Args:
        run: its directory, by its real path.
        owner_fd: its locked owner file; None to take the lock.
        prepared: the same run, if it is prepared already.
        attempt: the attempt's number.
        claim: our claim of it; None if a supervisor of this host started us.
        host: the process that hosts a caller's run; None for every other run.

    Returns:
        The exit code.
    """
    control = Control(run.cancel, claim)
    control.install()
    try:
        prepared = prepared or prepare_run(run, owner_fd, dict(os.environ), claim=claim)
        return 0 if prepared is None else _begin(prepared, control, attempt, host)
    except TypedError as error:
        print(f"worker: {error}", file=sys.stderr)
        return error.exit_code
    except (FileNotFoundError, NotADirectoryError) as error:
        print(f"worker: {error.filename}: {error.strerror}; it is no run", file=sys.stderr)
        return BAD_USAGE
    except OSError as error:
        print(f"worker: {run.path}: {error.strerror}", file=sys.stderr)
        return CANNOT_WRITE


def _begin(prepared: PreparedRun, control: Control, attempt: int, host: HostClient | None) -> int:
    """Run a prepared run; returns the exit code, and raises an error of its spec."""
    recorder = Recorder(prepared.journal, control)
    try:
        if not isinstance(prepared.spec, RunSpec):
            _record_bad_spec(recorder, prepared.spec)
            raise prepared.spec
        return _run(prepared, prepared.spec, recorder, control, attempt, host)
    finally:
        control.uninstall()
        prepared.journal.close()


def _run(
    prepared: PreparedRun,
    spec: RunSpec,
    recorder: Recorder,
    control: Control,
    attempt: int,
    host: HostClient | None,
) -> int:
    context = StageContext(
        layout=layout_of_run(prepared.run),
        run=prepared.run,
        spec=spec,
        environ=prepared.environ,
        control=control,
        containment=Containment(spec.run_id),
        clock=SystemClock(),
        recorder=recorder,
        root_id=prepared.root_id,
        attempt=attempt,
        host=host,
    )
    heartbeat = HeartbeatThread(
        prepared.run.heartbeat,
        spec.limits.heartbeat_interval_s,
        control.on_beat,
        shared=control.is_placed and host is None,  # a caller's host is on the supervisor's host
    )
    pipeline = PipelineRun(context, heartbeat)
    try:
        become_subreaper()
        raise_worker_score()
        is_written = pipeline.run()
        return NOT_OURS if control.is_fenced() else 0 if is_written else CANNOT_WRITE
    except CannotBeginError:
        raise
    except Exception as error:  # noqa: BLE001 - the boundary: a bug becomes a verdict
        traceback.print_exc()
        pipeline.fail(error)
        return BUG
    finally:
        heartbeat.stop()  # in any case: further heartbeats would hide our death


def _record_bad_spec(recorder: Recorder, error: Exception) -> None:
    verdict: dict[str, object] = {
        "status": "failed",
        "detail": "stage:worker:error",
        "reason": str(error),
        "summary": None,
        "duration_s": 0.0,
        "heartbeat": {"ok": 0, "failed": 0, "slowest_s": 0.0},
        "slowest_journal_s": 0.0,
        "leftover_pids": [],
    }
    recorder.record_verdict(verdict, on_wait=lambda: None)
