"""``python -m workers RUN_DIR [--owner-fd N]``: run one run to its verdict.

Whoever starts it takes the run's owner lock before and passes the locked descriptor, so that the
run is owned without a gap; started by hand, it takes the lock itself. Exit codes: 0 the verdict is
in the journal, 1 a bug (it has become the verdict), 2 usage, 65 a bad spec, 73 the verdict could
not be written, 75 the run is being worked on, or was begun before.
"""

import os
import sys
import traceback

from workers.containment import Containment
from workers.control import Control
from workers.libc import become_subreaper
from workers.owner import is_done, own
from workers.pipeline import PipelineRun
from workers.pulse import Pulse
from workers.recorder import Bench, Recorder
from workers.records.clock import SystemClock
from workers.records.errors import TypedError
from workers.records.journal import JournalWriter
from workers.records.layout import Layout, RunDir
from workers.records.spec import load_spec

USAGE = "usage: python -m workers RUN_DIR [--owner-fd N]"
BUG, BAD_USAGE, CANNOT_WRITE = 1, 2, 73


def work(run: RunDir, owner_fd: int | None) -> int:
    """Run one run.

    Returns:
        The exit code.

    Raises:
        TypedError: it is not ours to run, or its spec is bad.
        FileNotFoundError: it is no run.
    """
    control = Control(run.cancel)
    control.install()
    os.stat(run.journal)  # before .owner is made where there is no run
    own(run, owner_fd)
    if is_done(run):
        return 0
    clock = SystemClock()
    journal = JournalWriter(run.journal, by="worker", clock=clock)
    try:
        return _begin(run, control, clock, Recorder(journal, control))
    finally:
        control.retire()
        journal.close()


def _begin(run: RunDir, control: Control, clock: SystemClock, recorder: Recorder) -> int:
    try:
        spec = load_spec(run.spec)
    except (OSError, TypedError) as error:
        _say_unreadable(recorder, error)
        raise
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(run.path))))
    bench = Bench(
        layout=Layout(root),
        run=run,
        spec=spec,
        control=control,
        containment=Containment(),
        clock=clock,
    )
    pulse = Pulse(run.heartbeat, spec.limits.heartbeat_interval_s, control.on_beat)
    pipeline = PipelineRun(bench, recorder, pulse)
    try:
        become_subreaper()
        return 0 if pipeline.run() else CANNOT_WRITE
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


def main(argv: list[str]) -> int:
    """Parse the words and work."""
    words = argv[1:]
    is_passed = len(words) == 3 and words[1] == "--owner-fd" and words[2].isdecimal()
    if not is_passed and len(words) != 1:
        print(USAGE, file=sys.stderr)
        return BAD_USAGE
    try:
        return work(RunDir(os.path.realpath(words[0])), int(words[2]) if is_passed else None)
    except TypedError as error:
        print(f"worker: {error}", file=sys.stderr)
        return error.exit_code
    except (FileNotFoundError, NotADirectoryError) as error:
        print(f"worker: {error.filename}: {error.strerror}; it is no run", file=sys.stderr)
        return BAD_USAGE
    except OSError as error:
        print(f"worker: {words[0]}: {error.strerror}", file=sys.stderr)
        return CANNOT_WRITE


if __name__ == "__main__":
    sys.exit(main(sys.argv))
