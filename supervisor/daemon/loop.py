"""The loop: wait, look, step, perform, until there is nothing left to do.

One thread, one value (the fleet), one place that waits. It wakes for a worker's exit (pidfd), a
signal, a hint from the inbox, what an engine's agent says, the scan once a second, and whatever
falls due in the core.
"""

import random
import selectors
import signal
from collections.abc import Callable, Iterable
from typing import Final

from supervisor.core import stimuli
from supervisor.core.fleet import Fleet, Mode, Rules
from supervisor.core.step import step
from supervisor.core.stimuli import Stimulus
from supervisor.core.timers import next_due
from supervisor.daemon import inbox, observe
from supervisor.daemon.context import DaemonContext
from supervisor.daemon.executor import Executor
from supervisor.daemon.lease_check import ensure_lease
from supervisor.daemon.leftovers import reap_strangers
from supervisor.daemon.recovery import recover
from supervisor.daemon.reload import Reloaded, ReloadRefused
from supervisor.daemon.shutdown import ExitCondition, ExitPolicy
from supervisor.daemon.signals import Signals
from supervisor.daemon.status_file import StatusFile

SCAN_S: Final = 1.0  # measured: a scan at 1 Hz costs 1 us per worker, an event 250
STALL_INTERVALS: Final = 2  # fault P7: after a gap of ours longer than this, ages start again


Round = tuple[str, str, str | None]
# A batch's key, when its runs were asked for, and what its file said then.


class Supervisor:
    """Supervises the runs of one root.

    Args:
        context: the effects and the books.
        fleet: the empty fleet, with its limits.
        rules: the settings that decisions need.
        errand: when to leave.
        reload: called on SIGHUP; reads the configuration again.

    Attributes:
        outcomes: (status, detail) of every finished run without a parent, by run id; the caller
            adds those of a batch that ended before this engine began.
        tasks: the tasks of all finished runs.
        ended_by: the signal that ended the engine, None where it left by itself.
        refused_count: requests that asked for runs which could not be put on disk.
    """

    def __init__(
        self,
        context: DaemonContext,
        fleet: Fleet,
        *,
        rules: Rules,
        errand: ExitCondition,
        reload: Callable[[], Reloaded | ReloadRefused],
    ) -> None:
        self._context = context
        self._fleet = fleet
        self._rules = rules
        self._leaving = ExitPolicy(context, errand)
        self._reload = reload
        self._performer = Executor(context)
        self._view = StatusFile(context)
        self._selector = selectors.DefaultSelector()
        self._watched: dict[str, int] = {}
        self._random = random.Random()  # noqa: S311 - jitter, not secrecy
        self._scan_s = min(SCAN_S, rules.ages.interval_s)
        self._scans_count = 0
        self._batches: set[Round] = set()
        self._postponed: str | None = None
        self.outcomes: dict[str, tuple[str, str | None]] = {}
        self.tasks: set[str] = set()
        self.ended_by: int | None = None
        self.refused_count = 0

    @property
    def fleet(self) -> Fleet:
        """All runs as they are now."""
        return self._fleet

    def unfinished_rounds(self, batch: str) -> set[str]:
        """The rounds of a batch with a run that is not in history and state, by their ``asked_at``.

        Those that this engine has put on record since it began are among them.
        """
        return {at for key, at, _ in self._batches | self._batches_now() if key == batch}

    def unfinished_editions(self, batch: str) -> set[str | None]:
        """What the file of a batch said when its unfinished rounds were asked for, as digests."""
        return {edition for key, _, edition in self._batches | self._batches_now() if key == batch}

    def _batches_now(self) -> set[Round]:
        specs = [handle.spec for handle in self._context.runs.values()]
        return {(s.batch, s.asked_at, s.batch_edition) for s in specs if s.batch is not None}

    def owed_tasks(self) -> list[str]:
        """The tasks whose state on disk lacks a finished run."""
        return sorted(self._fleet.snapshots)

    def unwritten(self) -> dict[str, str]:
        """The runs whose result is not on disk, or that could not be read, and why."""
        return {**self._context.unreadable, **self._fleet.unwritten()}

    @property
    def postponed(self) -> str | None:
        """Why a request is still in the inbox although we were ready to take it, else None."""
        return self._postponed if self._fleet.mode is Mode.SERVING else None

    def recover(self) -> None:
        """Take up what earlier supervisors left, and the inbox. Call once, before ``run``."""
        found = recover(self._context)
        # Before anything is recorded: a batch whose last run only wants recording is continued.
        self._batches = self._batches_now()
        # One step for all: what is asked for first (a pause, a cancellation) holds what is found.
        self._take_requests(found, whole=True)
        self._context.hooks.recover()
        pauses = self._fleet.pauses
        if pauses:
            names = ", ".join(f"group {name}" for name, _ in pauses.groups)
            what = names if pauses.since is None else f"everything since {pauses.since}"
            self._context.reporter.note(f"paused: {what}; 'supervisor resume' lifts it")

    def run(self) -> None:
        """Supervise until the errand is done or a signal ends it."""
        with Signals() as signals:
            self._selector.register(signals.fd, selectors.EVENT_READ, None)
            self._selector.register(self._context.watcher.fd, selectors.EVENT_READ, None)
            for launcher in self._context.launchers.all():
                if launcher.fd is not None:
                    self._selector.register(launcher.fd, selectors.EVENT_READ, launcher.hear)
            last = next_scan = self._context.clock.mono_s()
            self._context.notifier.ready()
            while not self._finished():
                now = self._context.clock.mono_s()
                self._turn(signals, until=next_scan, now=now)
                now = self._context.clock.mono_s()
                if now >= next_scan:
                    if now - last > STALL_INTERVALS * self._rules.ages.interval_s:
                        self._feed([stimuli.Stalled()])
                    last, next_scan = now, now + self._scan_s
                    self._scan()
                    self._context.notifier.alive(now, self._doing())
                    self._context.textfile.look(now)
                self._context.hooks.poll()
                self._context.reporter.tick()
            self._context.notifier.stopping()
            self.ended_by = signals.ended_by
        self._view.write(self._fleet)
        self._context.textfile.finish()
        self._selector.close()

    def _doing(self) -> str:
        """What we are doing, for the service manager."""
        fleet = self._fleet
        word = "" if fleet.mode is Mode.SERVING else f"{fleet.mode}: "
        done_count = len(self.outcomes)
        return f"{word}{len(fleet.active)} active, {len(fleet.queued)} queued, {done_count} done"

    def _finished(self) -> bool:
        """Nothing is left to do, also after one more look into the inbox."""
        if not self._done() or self._hooks_run():
            return False
        self._take_requests(whole=self._fleet.mode is not Mode.SERVING)
        return self._done() and not self._hooks_run()

    def _hooks_run(self) -> bool:
        """Hooks keep us here: all of them with ``--once``, else those that run, for a moment."""
        if self._leaving.at_once or self._fleet.mode is not Mode.SERVING:
            self._context.hooks.leave()
        return self._context.hooks.is_busy

    def _turn(self, signals: Signals, *, until: float, now: float) -> None:
        core_due = next_due(self._fleet, self._rules)
        dues = (until, core_due, self._context.hooks.due_mono_s())
        wake = min(due for due in dues if due is not None)
        goes_on = self._context.half_taken is not None
        found: list[Stimulus] = []
        inbox_changed = goes_on
        for key, _ in self._selector.select(0.0 if goes_on else max(0.0, wake - now)):
            if key.fd == signals.fd:
                found += self._signals(signals.take())
            elif key.fd == self._context.watcher.fd:
                self._context.watcher.drain()
                inbox_changed = True
            elif callable(key.data):
                found += key.data()
            else:
                self._selector.unregister(key.fd)
                self._watched.pop(key.data, None)
                found += observe.exited(self._context, key.data)
        if found or (core_due is not None and core_due <= self._context.clock.mono_s()):
            self._feed(found)
        if inbox_changed:
            self._take_requests()

    def _signals(self, came: list[int]) -> list[Stimulus]:
        found: list[Stimulus] = []
        for number in came:
            if number == signal.SIGHUP:
                self._context.notifier.reloading(self._context.clock.mono_s())
                found += self._read_again()
                self._context.notifier.ready()
            elif self._fleet.mode is Mode.SERVING and stimuli.DrainRequested() not in found:
                self._context.reporter.note(
                    "draining: what runs may end, what is queued stays queued; "
                    "the same signal again stops what runs"
                )
                found.append(stimuli.DrainRequested())
            else:
                found.append(stimuli.StopRequested())
        return found

    def _read_again(self) -> list[Stimulus]:
        """Read the configuration again, put it in force, and tell what changed."""
        note, log = self._context.reporter.note, self._context.log
        new = self._reload()
        if isinstance(new, ReloadRefused):
            log.write("reload_refused", problems=list(new.problems))
            for line in ("not reloaded, the old configuration stays:", *new.problems):
                note(line)
            return []
        self._rules = new.rules
        self._leaving.change(owed_wait_s=new.owed_wait_s)
        log.write("reloaded", changes=list(new.changes))
        for line in (*new.notices, *(f"reloaded: {text}" for text in new.changes)):
            note(line)
        if not new.changes:
            note("reloaded: nothing changed")
        return [stimuli.LimitChanged(new.max_runs, new.groups)]

    def _scan(self) -> None:
        found: list[Stimulus] = []
        for launcher in self._context.launchers.all():
            found += launcher.tend(self._context.clock.mono_s())
        found += self._withdraw(ending=False)
        self._scans_count += 1
        per_beat = max(1, int(self._rules.ages.interval_s / self._scan_s))
        found += observe.scan(
            self._context, self._fleet, turn=self._scans_count, scans_per_beat=per_beat
        )
        self._feed(found)
        reap_strangers(self._context.known_pids)
        if not self._context.watcher.may_pass():
            self._take_requests()
        self._view.write(self._fleet)

    def _take_requests(self, found: Iterable[Stimulus] = (), *, whole: bool = False) -> None:
        taken = inbox.take(self._context, whole=whole)
        found = [*found, *taken.found]
        if found:
            self._feed(found)
        if found and self._context.half_taken is None:
            self._view.write(self._fleet)
        taken.finish()
        self._leaving.at_once = self._leaving.at_once or taken.leave
        self.refused_count += taken.refused_count
        self._postponed = taken.postponed

    def _feed(self, found: list[Stimulus]) -> None:
        """Step and perform until nothing more comes of it; only as the supervisor of the root."""
        ensure_lease(self._context, self._fleet)
        if any(isinstance(item, stimuli.StopRequested) for item in found):
            found = [*self._withdraw(ending=True), *found]
        while True:
            before = self._fleet
            self._fleet, wanted = step(
                before,
                found,
                now_mono_s=self._context.clock.mono_s(),
                rules=self._rules,
                jitter=self._random.random,
            )
            if not wanted:
                return
            found = self._performer.perform(wanted, self._fleet.active)
            self._tally(found)
            self._watch_workers()
            if not found:
                return

    def _withdraw(self, *, ending: bool) -> list[Stimulus]:
        """Withdraw what waits in an engine's queue while it is paused, or nothing more is to start.

        A sub-pipeline's run is not withdrawn: its parent waits for it.

        Args:
            ending: running runs are to end; queued runs stay queued.
        """
        fleet = self._fleet
        ending = ending or fleet.mode is Mode.DRAINING
        if not (fleet.pauses or ending):
            return []
        found: list[Stimulus] = []
        for run_id, handle in self._context.runs.items():
            run = fleet.active.get(run_id)
            if run is not None and run.needs_slot and (ending or fleet.pauses.is_paused(run.group)):
                found += handle.launcher.withdraw(handle)
        return found

    def _tally(self, found: list[Stimulus]) -> None:
        for item in found:
            if isinstance(item, stimuli.RunRecorded):
                run = self._fleet.active[item.run_id]
                self.tasks.add(run.task_id)
                if run.parent_run_id is None:
                    state = run.state
                    self.outcomes[item.run_id] = (
                        getattr(state, "status", "failed"),
                        getattr(state, "detail", None),
                    )

    def _watch_workers(self) -> None:
        for run_id, worker in self._context.workers().items():
            if run_id not in self._watched and worker.pidfd is not None:
                self._selector.register(worker.pidfd, selectors.EVENT_READ, run_id)
                self._watched[run_id] = worker.pidfd

    def _done(self) -> bool:
        return self._leaving.is_time(self._fleet, asked=self.postponed is not None)
