"""The loop: wait, observe, step, perform, until there is nothing left to do.

One thread, one value (the fleet), one place that waits. It wakes up for a worker's exit (pidfd), a
signal, a hint from the inbox, an answer of an engine's agent, the scan once a second, and the next
instant at which something is due in the core.
"""

import contextlib
import random
import selectors
import signal
import time
from collections.abc import Callable, Iterable
from typing import Final

from supervisor.core import stimuli
from supervisor.core.fleet import Fleet, Mode, Rules
from supervisor.core.lifecycle import LIVE
from supervisor.core.step import step
from supervisor.core.stimuli import Stimulus
from supervisor.core.timers import next_due
from supervisor.daemon import inbox, observe
from supervisor.daemon.config_reloader import Reloaded, ReloadRefused
from supervisor.daemon.context import DaemonContext
from supervisor.daemon.executor import Executor
from supervisor.daemon.process_table import reap_orphans
from supervisor.daemon.recovery import recover
from supervisor.daemon.shutdown import ExitCondition, ExitPolicy, Signals
from supervisor.daemon.status_file import StatusFile
from supervisor.errors import RootGoneError
from supervisor.launchers.spawner import runs_at_once
from workers.records.typed_errors import TypedError

SCAN_S: Final = 1.0  # measured: a scan at 1 Hz costs 1 us per worker, an event 250
STALL_INTERVALS: Final = 2  # fault P7: after a longer gap of the loop, ages start again
KILL_POLL_S: Final = 0.05
KILL_S: Final = 10.0  # a process that outlives SIGKILL this long waits for the kernel

Round = tuple[str, str, str | None]
"""A batch's key, when its runs were requested, and the digest of its file at that time."""


class Supervisor:
    """Supervises the runs of one root.

    Args:
        context: the effects and the live runs.
        fleet: the empty fleet, with its limits.
        rules: the settings that decisions need.
        exit_condition: when to exit.
        reload: called on SIGHUP; reads the configuration again.

    Attributes:
        fleet: all runs as they are now.
        outcomes: (status, detail) of every finished run without a parent, by run id; the caller
            adds those of a batch that finished before this supervisor started.
        tasks: the tasks of all finished runs.
        ended_by: the signal that ended the supervisor, None if it exited by itself.
        refused_count: requests for runs that could not be put on disk.
    """

    def __init__(
        self,
        context: DaemonContext,
        fleet: Fleet,
        *,
        rules: Rules,
        exit_condition: ExitCondition,
        reload: Callable[[], Reloaded | ReloadRefused],
    ) -> None:
        self._context = context
        self.fleet = fleet
        self._rules = rules
        self._exit_policy = ExitPolicy(context, exit_condition)
        self._reload = reload
        self._executor = Executor(context)
        self._status_file = StatusFile(context)
        self._selector = selectors.DefaultSelector()
        self._watched: set[str] = set()
        self._random = random.Random()  # noqa: S311 - jitter, not secrecy
        self._scan_s = min(SCAN_S, rules.ages.interval_s)
        self._scans_count = 0
        self._batches: set[Round] = set()
        self._postponed: str | None = None
        self.outcomes: dict[str, tuple[str, str | None]] = {}
        self.tasks: set[str] = set()
        self.ended_by: int | None = None
        self.refused_count = 0

    def unfinished_rounds(self, batch: str) -> set[str]:
        """The rounds of a batch that were unfinished at startup or are now, by ``asked_at``."""
        return {at for key, at, _ in self._batches | self._batches_now() if key == batch}

    def unfinished_editions(self, batch: str) -> set[str | None]:
        """The digests that the file of a batch had when its unfinished rounds were requested."""
        return {edition for key, _, edition in self._batches | self._batches_now() if key == batch}

    def _batches_now(self) -> set[Round]:
        specs = [handle.spec for handle in self._context.runs.values()]
        return {(s.batch, s.asked_at, s.batch_edition) for s in specs if s.batch is not None}

    def unwritten(self) -> dict[str, str]:
        """The runs whose result is not on disk or that could not be read, and the reasons."""
        return {**self._context.unreadable, **self.fleet.unwritten()}

    @property
    def postponed(self) -> str | None:
        """Why a request is still in the inbox although we serve, else None."""
        return self._postponed if self.fleet.mode is Mode.SERVING else None

    def recover(self) -> None:
        """Take over what earlier supervisors left, and the inbox. Call once, before ``run``."""
        events = recover(self._context)
        # Before anything is recorded: a batch whose last run only needs recording is continued.
        self._batches = self._batches_now()
        # One step for all: a pause or a cancellation in the inbox applies to what was recovered.
        self._take_requests(events, whole=True)
        self._context.hooks.recover()
        pauses = self.fleet.pauses
        if pauses:
            groups = ", ".join(f"group {name}" for name, _ in pauses.groups)
            what = groups if pauses.since is None else f"everything since {pauses.since}"
            self._context.reporter.note(f"paused: {what}; 'supervisor resume' lifts it")

    def run(self, signals: Signals) -> None:
        """Supervise until the exit condition holds or a signal ends it."""
        context = self._context
        self._selector.register(signals.fd, selectors.EVENT_READ, None)
        self._selector.register(context.watcher.fd, selectors.EVENT_READ, None)
        for launcher in context.launchers.all():
            if launcher.fd is not None:
                self._selector.register(launcher.fd, selectors.EVENT_READ, launcher.receive)
        last = next_scan = context.clock.mono_s()
        context.notifier.ready()
        while not self._is_finished():
            self._turn(signals, until=next_scan, now=context.clock.mono_s())
            now = context.clock.mono_s()
            if now >= next_scan:
                if now - last > STALL_INTERVALS * self._rules.ages.interval_s:
                    self._feed([stimuli.Stalled()])
                last, next_scan = now, now + self._scan_s
                self._scan()
                context.notifier.alive(now, self._summary())
                context.textfile.update(now)
            context.hooks.poll()
            context.reporter.tick()
        context.notifier.stopping()
        self.ended_by = signals.ended_by
        self._status_file.write(self.fleet)
        context.textfile.finish()
        self._selector.close()

    def _summary(self) -> str:
        """The status line for the service manager."""
        fleet = self.fleet
        mode = "" if fleet.mode is Mode.SERVING else f"{fleet.mode}: "
        done_count = len(self.outcomes)
        return f"{mode}{len(fleet.active)} active, {len(fleet.queued)} queued, {done_count} done"

    def _is_finished(self) -> bool:
        """Nothing is left to do, also after one more pass through the inbox."""
        if not self._may_exit():
            return False
        self._take_requests(whole=self.fleet.mode is not Mode.SERVING)
        return self._may_exit()

    def _may_exit(self) -> bool:
        """The exit policy allows it, and no hook prevents it.

        With ``--once`` all hooks finish; at any other exit only the running ones, for a moment.
        """
        has_request = self.postponed is not None
        if not self._exit_policy.is_time(self.fleet, has_request=has_request):
            return False
        if self._exit_policy.at_once or self.fleet.mode is not Mode.SERVING:
            self._context.hooks.shut_down()
        return not self._context.hooks.is_busy

    def _turn(self, signals: Signals, *, until: float, now: float) -> None:
        context = self._context
        core_due = next_due(self.fleet, self._rules)
        wake = min(due for due in (until, core_due, context.hooks.due_mono_s()) if due is not None)
        continues = inbox_changed = context.partial_request is not None
        events: list[Stimulus] = []
        for key, _ in self._selector.select(0.0 if continues else max(0.0, wake - now)):
            if key.fd == signals.fd:
                events += self._handle_signals(signals.take())
            elif key.fd == context.watcher.fd:
                context.watcher.drain()
                inbox_changed = True
            elif callable(key.data):
                events += key.data()
            else:
                self._selector.unregister(key.fd)
                self._watched.discard(key.data)
                events += observe.exited(context, key.data)
        if events or (core_due is not None and core_due <= context.clock.mono_s()):
            self._feed(events)
        if inbox_changed:
            self._take_requests()

    def _handle_signals(self, numbers: list[int]) -> list[Stimulus]:
        events: list[Stimulus] = []
        for number in numbers:
            if number == signal.SIGHUP:
                self._context.notifier.reloading(self._context.clock.mono_s())
                events += self._reload_config()
                self._context.notifier.ready()
            elif self.fleet.mode is Mode.SERVING and stimuli.DrainRequested() not in events:
                self._context.reporter.note(
                    "draining: running runs may finish, queued runs stay queued; "
                    "the same signal again stops running runs"
                )
                events.append(stimuli.DrainRequested())
            else:
                events.append(stimuli.StopRequested())
        return events

    def _reload_config(self) -> list[Stimulus]:
        """Read the configuration again, put it in force, and report the changes."""
        note, log = self._context.reporter.note, self._context.log
        new = self._reload()
        if isinstance(new, ReloadRefused):
            log.write("reload_refused", problems=list(new.problems))
            for line in ("not reloaded, the old configuration stays in force:", *new.problems):
                note(line)
            return []
        self._rules = new.rules
        self._exit_policy.change(owed_wait_s=new.settings.owed_wait_s)
        log.write("reloaded", changes=list(new.changes))
        for line in (*new.notices, *(f"reloaded: {text}" for text in new.changes)):
            note(line)
        if not new.changes:
            note("reloaded: nothing changed")
        max_runs = runs_at_once(new.settings.max_runs)
        return [stimuli.LimitChanged(max_runs, dict(new.settings.groups))]

    def _scan(self) -> None:
        context = self._context
        events: list[Stimulus] = []
        for launcher in context.launchers.all():
            events += launcher.maintain(context.clock.mono_s())
        events += self._withdraw(ending=False)
        self._scans_count += 1
        per_beat = max(1, int(self._rules.ages.interval_s / self._scan_s))
        turn = self._scans_count
        events += observe.scan(context, self.fleet, turn=turn, scans_per_beat=per_beat)
        self._feed(events)
        reap_orphans(context.known_pids)
        self._take_requests()
        self._status_file.write(self.fleet)

    def _take_requests(self, events: Iterable[Stimulus] = (), *, whole: bool = False) -> None:
        result = inbox.take_requests(self._context, whole=whole)
        events = [*events, *result.events]
        if events:
            self._feed(events)
        if events and self._context.partial_request is None:
            self._status_file.write(self.fleet)
        result.finish()
        self._exit_policy.at_once = self._exit_policy.at_once or result.leaves_running
        self.refused_count += result.refused_count
        self._postponed = result.postponed

    def _feed(self, events: list[Stimulus]) -> None:
        """Step and perform until nothing more results; only as the holder of the lease."""
        self._ensure_lease()
        if any(isinstance(item, stimuli.StopRequested) for item in events):
            events = [*self._withdraw(ending=True), *events]
        while True:
            self.fleet, wanted = step(
                self.fleet,
                events,
                now_mono_s=self._context.clock.mono_s(),
                rules=self._rules,
                jitter=self._random.random,
            )
            if not wanted:
                return
            events = self._executor.perform(wanted, self.fleet.active)
            self._count(events)
            self._watch_workers()
            if not events:
                return

    def _ensure_lease(self) -> None:
        """Check the lease, and restore it with our directories if only they were deleted.

        Raises:
            RootGoneError: ``.runs`` is gone; running runs were killed and reported, since nothing
                of them can be recorded and no supervisor would adopt them.
            LeaseHeldError: another supervisor serves the root; our workers are left to it.
        """
        context = self._context
        try:
            if context.lease.keep():
                return
        except RootGoneError:
            self._kill_all()
            raise
        with contextlib.suppress(OSError, TypedError):  # what is missing is created when needed
            context.intake.make_dirs()
            context.intake.write_markers([handle.spec for handle in context.runs.values()])
        context.log.write("lease_taken_again")

    def _kill_all(self) -> None:
        context = self._context
        active = self.fleet.active.values()
        handles = [context.runs[run.run_id] for run in active if isinstance(run.state, LIVE)]
        until = context.clock.mono_s() + KILL_S
        while context.clock.mono_s() < until:
            if not any([handle.launcher.clean_up(handle) for handle in handles]):
                break
            time.sleep(KILL_POLL_S)
        for handle in handles:
            context.reporter.note(f"{handle.run_id} was killed; its result is not on disk")

    def _withdraw(self, *, ending: bool) -> list[Stimulus]:
        """Withdraw runs from an engine's queue if they are paused, or nothing more may start.

        A sub-pipeline's run is not withdrawn: its parent waits for it. ``ending``: running runs are
        to end, too.
        """
        fleet = self.fleet
        ending = ending or fleet.mode is Mode.DRAINING
        if not (fleet.pauses or ending):
            return []
        events: list[Stimulus] = []
        for run_id, handle in self._context.runs.items():
            run = fleet.active.get(run_id)
            if run is not None and run.needs_slot and (ending or fleet.pauses.is_paused(run.group)):
                events += handle.launcher.withdraw(handle)
        return events

    def _count(self, events: list[Stimulus]) -> None:
        for item in events:
            if isinstance(item, stimuli.RunRecorded):
                run = self.fleet.active[item.run_id]
                self.tasks.add(run.task_id)
                if run.parent_run_id is None:
                    status = getattr(run.state, "status", "failed")
                    self.outcomes[item.run_id] = status, getattr(run.state, "detail", None)

    def _watch_workers(self) -> None:
        for run_id, worker in self._context.workers().items():
            if run_id not in self._watched and worker.pidfd is not None:
                self._selector.register(worker.pidfd, selectors.EVENT_READ, run_id)
                self._watched.add(run_id)
