"""``python -m workers RUN_DIR [--owner-fd N]``: run one run to its verdict.

Whoever starts it takes the run's owner lock before and passes the locked descriptor, so that the
run is owned without a gap; started by hand, it takes the lock itself. Exit codes: 0 the verdict is
in the journal, 1 a bug, 2 usage, 65 a bad spec, 75 the run is being worked on.
"""

import fcntl
import os
import sys

from workers.containment import become_subreaper, reset_signals
from workers.control import Control
from workers.pipeline import PipelineRun
from workers.pulse import Pulse
from workers.recorder import Bench, Recorder
from workers.records.clock import SystemClock
from workers.records.errors import BadFileError, OwnedError, TypedError
from workers.records.files import open_regular
from workers.records.journal import Event, JournalWriter, read_journal, verdict_in
from workers.records.layout import Layout, RunDir
from workers.records.spec import RunSpec, load_spec

USAGE = "usage: python -m workers RUN_DIR [--owner-fd N]"


def own(run: RunDir, owner_fd: int | None) -> int:
    """Hold the owner lock, by the descriptor that was passed or by taking it.

    Returns:
        The descriptor; it is never closed, the kernel does that when this process ends.

    Raises:
        OwnedError: another process holds the lock.
        BadFileError: the descriptor is not this run's owner file.
    """
    fd = open_regular(run.owner, os.O_RDWR | os.O_CREAT) if owner_fd is None else owner_fd
    if owner_fd is not None:
        os.set_inheritable(fd, False)
        mine, named = os.fstat(fd), os.stat(run.owner, follow_symlinks=False)
        if (mine.st_dev, mine.st_ino) != (named.st_dev, named.st_ino):
            raise BadFileError(path=run.owner, why="is not the file that --owner-fd locks")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OwnedError(run_dir=run.path) from None
    return fd


def work(run: RunDir, owner_fd: int | None) -> None:
    """Run one run; errors as own, load_spec and read_journal."""
    own(run, owner_fd)
    facts = read_journal(run.journal)
    if verdict_in(facts) is not None:
        return
    if any(fact.event == Event.RUN_STARTED for fact in facts):
        raise OwnedError(run_dir=run.path)
    clock = SystemClock()
    control = Control(run.cancel)
    control.install()
    become_subreaper()
    journal = JournalWriter(run.journal, by="worker", clock=clock)
    recorder = Recorder(journal, control)
    try:
        spec = load_spec(run.spec)
        layout = Layout(
            os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(run.path))))
        )
        bench = Bench(layout=layout, run=run, spec=spec, control=control, clock=clock)
        _run(bench, recorder)
    except Exception as error:  # the boundary: a bug becomes a verdict
        recorder.verdict(
            {
                "status": "failed",
                "detail": "stage:worker:error",
                "reason": f"the worker failed: {type(error).__name__}: {error}",
                "summary": None,
                "leftover_pids": [],
            }
        )
        raise
    finally:
        journal.close()


def _run(bench: Bench, recorder: Recorder) -> None:
    spec: RunSpec = bench.spec
    interval_s = spec.limits.heartbeat_interval_s
    pulse = Pulse(bench.run.heartbeat, interval_s, bench.control.on_beat)
    PipelineRun(bench, recorder, pulse).run()


def main(argv: list[str]) -> int:
    """Parse the words and work."""
    words = argv[1:]
    if len(words) not in (1, 3) or (len(words) == 3 and words[1] != "--owner-fd"):
        print(USAGE, file=sys.stderr)
        return 2
    owner_fd = int(words[2]) if len(words) == 3 and words[2].isdigit() else None
    reset_signals()
    try:
        work(RunDir(os.path.realpath(words[0])), owner_fd)
    except TypedError as error:
        print(f"worker: {error}", file=sys.stderr)
        return error.exit_code
    except FileNotFoundError as error:
        print(f"worker: {error.filename} does not exist", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
