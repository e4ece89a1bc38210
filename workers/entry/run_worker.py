"""Run one run to its verdict, in a process that is its worker."""

import os
import sys
import traceback

from workers.entry.prepare import PreparedRun, prepare_run
from workers.processes.containment import Containment
from workers.processes.libc import become_subreaper
from workers.processes.oom import raise_worker_score
from workers.records.clock import SystemClock
from workers.records.files import ClaimFile
from workers.records.layout import RunDir, layout_of_run
from workers.records.spec import RunSpec
from workers.records.typed_errors import CannotBeginError, TypedError
from workers.stages.control import Control
from workers.stages.heartbeat_thread import HeartbeatThread
from workers.stages.host_client import HostClient
from workers.stages.pipeline import PipelineRun
from workers.stages.stage_context import Recorder, StageContext

BUG, BAD_USAGE, CANNOT_WRITE, NOT_OURS = 1, 2, 73, 75


def _begin(ready: PreparedRun, control: Control, attempt: int, host: HostClient | None) -> int:
    """Run a run that is ready; returns the exit code, and raises where its spec is bad."""
    recorder = Recorder(ready.journal, control)
    try:
        if not isinstance(ready.spec, RunSpec):
            _say_unreadable(recorder, ready.spec)
            raise ready.spec
        return _run(ready, ready.spec, control, recorder, attempt, host)
    finally:
        control.retire()
        ready.journal.close()


def _run(
    ready: PreparedRun,
    spec: RunSpec,
    control: Control,
    recorder: Recorder,
    attempt: int,
    host: HostClient | None,
) -> int:
    bench = StageContext(
        layout=layout_of_run(ready.run),
        run=ready.run,
        spec=spec,
        environ=ready.environ,
        control=control,
        containment=Containment(spec.run_id),
        clock=SystemClock(),
        attempt=attempt,
        root_id=ready.root_id,
        host=host,
    )
    pulse = HeartbeatThread(
        ready.run.heartbeat,
        spec.limits.heartbeat_interval_s,
        control.on_beat,
        shared=control.is_placed and host is None,  # a caller's host shares our kernel
    )
    pipeline = PipelineRun(bench, recorder, pulse)
    try:
        become_subreaper()
        raise_worker_score()
        written = pipeline.run()
        return NOT_OURS if control.is_fenced() else 0 if written else CANNOT_WRITE
    except CannotBeginError:
        raise
    except Exception as error:  # noqa: BLE001 - the boundary: a bug becomes a verdict
        traceback.print_exc()
        pipeline.fail(error)
        return BUG
    finally:
        pulse.stop()  # whatever happens: a heart that beats for nobody would hide our death


def _say_unreadable(recorder: Recorder, error: Exception) -> None:
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
    recorder.verdict(verdict, on_wait=lambda: None)


def run_to_verdict(
    run: RunDir,
    owner_fd: int | None,
    ready: PreparedRun | None = None,
    *,
    attempt: int = 1,
    claim: ClaimFile | None = None,
    host: HostClient | None = None,
) -> int:
    """Run one run, and tell on stderr why it cannot be run. ``set_handlers`` comes before.

    Args:
        run: its directory, by its real path.
        owner_fd: its locked owner file; None where the lock is to be taken.
        ready: the same run, where it was made ready before.
        attempt: which attempt of it this is.
        claim: our claim of it; None where a supervisor of this host starts us.
        host: the process that hosts a caller's run; None for every other run.

    Returns:
        The exit code.
    """
    control = Control(run.cancel, claim)
    control.install()
    try:
        ready = ready or prepare_run(run, owner_fd, dict(os.environ), claim=claim)
        return 0 if ready is None else _begin(ready, control, attempt, host)
    except TypedError as error:
        print(f"worker: {error}", file=sys.stderr)
        return error.exit_code
    except (FileNotFoundError, NotADirectoryError) as error:
        print(f"worker: {error.filename}: {error.strerror}; it is no run", file=sys.stderr)
        return BAD_USAGE
    except OSError as error:
        print(f"worker: {run.path}: {error.strerror}", file=sys.stderr)
        return CANNOT_WRITE
