"""Bugs to plant in a supervisor or its workers, so that the harness can show that it finds them.

A planted worker is another program, and so is a zygote of such: ``plants.py NAME ...``.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from supervisor.core.stimuli import Accepted, Stimulus, WorkerGone
from supervisor.daemon import build, executor, inbox, local_launcher, loop, placed_launcher
from supervisor.daemon.run_handle import RunHandle
from supervisor.launchers import placer
from supervisor.store import intake, persistence, run_reader, state_store
from workers import __main__ as program
from workers.entry import prepare, zygote
from workers.records import atomic, journal

LOOPBACK = str(Path(__file__).parents[2] / "contract/launcher/loopback.py")
Plant = Callable[[], None]
UNFLUSHED = "verdict-unflushed-by-its-writer"
"""No bug on its own: the supervisor flushes what it acts on."""


def _replace_in_place(path: str, data: bytes, *, flush: bool = True) -> atomic.WriteCost:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(fd, data)
    if flush:
        os.fsync(fd)
    os.close(fd)
    return atomic.WriteCost(0.0, len(data))


def manifest_in_place() -> None:
    """Manifests and states are written over, not replaced."""
    for module in (persistence, state_store):
        module.replace_file = _replace_in_place  # type: ignore[attr-defined]


def printed_before_recorded() -> None:
    """A verdict is printed before its manifest and history are written."""
    real = executor.Executor._record

    def record(self: executor.Executor, run_ids: list[str]) -> Any:
        for run_id in run_ids:
            self._announce(run_id)
        sys.stdout.flush()
        return real(self, run_ids)

    executor.Executor._record = record  # type: ignore[method-assign]


def history_without_looking() -> None:
    """Recovery appends to the history without asking whether the run is there."""
    persistence.PersistenceCoordinator.recovered = (  # type: ignore[method-assign]
        lambda *_: None  # type: ignore[assignment, misc]
    )


def temporary_files_stay() -> None:
    """Recovery sweeps no temporary files."""
    intake.Intake.sweep_files = lambda *_: 0  # type: ignore[method-assign, assignment, misc]


def marker_removed_early() -> None:
    """The marker goes when the history has the run, before the state has it."""
    real = persistence.PersistenceCoordinator.record

    def record(self: persistence.PersistenceCoordinator, readers: Any) -> Any:
        readers = list(readers)
        outcome = real(self, readers)
        for run_id in outcome:
            os.unlink(self._layout.marker(run_id))
        return outcome

    persistence.PersistenceCoordinator.record = record  # type: ignore[method-assign]


def directory_before_marker() -> None:
    """A run's directory is made before its marker."""
    real = intake.Intake.accept

    def accept(self: intake.Intake, specs: Any) -> Any:
        specs = list(specs)
        for spec in specs:
            if not os.path.isdir(self._run(spec).path):
                self._build(spec)
        return list(real(self, specs)) or [run_reader.RunReader(self._layout, s) for s in specs]

    intake.Intake.accept = accept  # type: ignore[method-assign]


def request_removed_early() -> None:
    """A request is removed before its runs are on disk."""
    real = intake.Intake.accept

    def accept(self: intake.Intake, specs: Any) -> Any:
        for name in os.listdir(self._layout.inbox):
            if name.endswith(".json"):
                os.unlink(os.path.join(self._layout.inbox, name))
        return real(self, specs)

    intake.Intake.accept = accept  # type: ignore[method-assign]


def torn_history_stays() -> None:
    """What a crash tore in the history is appended to."""
    state_store._drop_torn_tail = lambda fd: os.fstat(fd).st_size


def torn_line_joined() -> None:
    """A torn line of a journal is not closed before the next is written."""
    journal._close_torn_line = lambda fd, path: 0


def living_taken_for_dead() -> None:
    """Recovery does not ask whether a run's owner lock is held."""
    local_launcher.is_flocked = lambda path: False  # type: ignore[attr-defined]


def hosted_worker_taken_for_dead() -> None:
    """A start takes the run of a living caller for lost."""
    adopt = placed_launcher.PlacedLauncher.adopt

    def adopt_as_lost(
        self: placed_launcher.PlacedLauncher, handle: RunHandle, about: Accepted, *, begun: bool
    ) -> list[Stimulus] | None:
        events = adopt(self, handle, about, begun=begun)
        return events and [*events, WorkerGone(handle.run_id, "planted")]

    placed_launcher.PlacedLauncher.adopt = adopt_as_lost  # type: ignore[method-assign]


def gone_caller_unnoticed() -> None:
    """A run is placed with a caller that has ended, and waits for it for ever."""
    placer.CallerPlacer.can_start = lambda *_: True  # type: ignore[method-assign, assignment]


def verdict_unflushed() -> None:
    """Neither the worker flushes its verdict, nor the supervisor that acts on it."""
    run_reader.sync_file = lambda path: None  # type: ignore[attr-defined]
    PLANTS[UNFLUSHED]()


def batch_again() -> None:
    """A start does not look whether its batch is under way."""
    loop.Supervisor.unfinished_rounds = lambda *_: set()  # type: ignore[method-assign, assignment, misc]


def in_shares() -> None:
    """A request for many runs is accepted one by one; no bug."""
    inbox.SHARE_RUNS_COUNT = 1  # type: ignore[misc]


def placed() -> None:
    """No bug: the loopback engine of the launcher's contract stands in Dask's place."""
    build.AGENTS["dask"] = (sys.executable, LOOPBACK)


def _planted_worker(name: str) -> Plant:
    def plant() -> None:
        real = subprocess.Popen

        def popen(words: list[str], *rest: Any, **options: Any) -> Any:
            if words[1:4] == ["-I", "-m", "workers"]:
                words = [words[0], "-I", __file__, name, "-m workers", *words[4:]]
            elif words[1:4] == ["-I", "-S", "-c"]:
                words = [words[0], "-I", __file__, name, "workers.entry.zygote", *words[5:]]
            return real(words, *rest, **options)

        subprocess.Popen = popen  # type: ignore[misc, assignment]

    return plant


def _verdict_unflushed() -> None:
    """The worker does not flush its verdict."""
    real = journal.JournalWriter.append

    def append(self: journal.JournalWriter, event: Any, data: Any, *, flush: bool = True) -> Any:
        return real(self, event, data, flush=flush and event is not journal.Event.VERDICT)

    journal.JournalWriter.append = append  # type: ignore[method-assign, assignment]


def _unclaimed() -> None:
    """The worker lets go of its lock, takes one later, and does not look what was done since."""
    real = prepare.own

    def own(run: Any, fd: int | None) -> Any:
        if fd is not None:
            os.close(fd)
        time.sleep(0.3)
        return real(run, None)

    prepare.own = own
    prepare.is_done = lambda run: False


IN_WORKERS: dict[str, Plant] = {
    UNFLUSHED: _verdict_unflushed,
    "unclaimed": _unclaimed,
}

PLANTS: dict[str, Plant] = {
    "manifest-in-place": manifest_in_place,
    "printed-before-recorded": printed_before_recorded,
    "history-without-looking": history_without_looking,
    "temporary-files-stay": temporary_files_stay,
    "marker-removed-early": marker_removed_early,
    "directory-before-marker": directory_before_marker,
    "request-removed-early": request_removed_early,
    "torn-history-stays": torn_history_stays,
    "torn-line-joined": torn_line_joined,
    "living-taken-for-dead": living_taken_for_dead,
    "hosted-worker-taken-for-dead": hosted_worker_taken_for_dead,
    "gone-caller-unnoticed": gone_caller_unnoticed,
    "verdict-unflushed": verdict_unflushed,
    "batch-again": batch_again,
    "in_shares": in_shares,
    "placed": placed,
    **{name: _planted_worker(name) for name in IN_WORKERS},
}

NO_BUGS = {"in_shares", "placed"}
"""What is planted so that a scenario goes another way."""


if __name__ == "__main__":
    IN_WORKERS[sys.argv[1]]()
    if sys.argv[2] == "workers.entry.zygote":
        zygote.main(int(sys.argv[3]))
        sys.exit()
    sys.exit(program.main(["workers", *sys.argv[3:]]))
