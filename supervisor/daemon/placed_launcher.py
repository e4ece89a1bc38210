"""Runs that an engine or a caller begins, on whatever host: placed, checked, withdrawn, stopped.

What an engine says is a reason to read the claim (``claims``) and is not believed. A run that
nobody has begun waits in the engine's queue, or for its caller, and is not judged.
"""

from collections.abc import Iterable
from typing import Final

from supervisor.core import stimuli
from supervisor.core.lifecycle import Run, Running
from supervisor.core.policy.liveness import Liveness
from supervisor.core.stimuli import Accepted, Stimulus
from supervisor.daemon import claims
from supervisor.daemon.context import DaemonContext
from supervisor.daemon.journal_events import facts
from supervisor.daemon.local_launcher import LocalLauncher, stopped
from supervisor.daemon.run_handle import Launcher, Observation, RunHandle
from supervisor.launchers.agents.protocol import (
    AgentReady,
    Answer,
    Cancel,
    JobEnded,
    Note,
    Placed,
    Refused,
)
from supervisor.launchers.placement_record import (
    ClaimState,
    Placement,
    load_placement,
    resources_of,
)
from supervisor.launchers.placer import Placer, order_of
from workers.processes.tree import Process
from workers.records.files import is_dir
from workers.records.typed_errors import CannotBeginError

_CANNOT_BEGIN: Final = "its worker could not begin; .runs/.supervisor/workers.log says why"
_REVOKED: Final = "its worker was not heard of any more, and its claim was taken away"


class PlacedLauncher(Launcher):
    """Has runs started by an engine, or by their callers; see Launcher.

    A run that was not placed yet, or is no longer, is observed and cleaned up as a local one.

    Args:
        context: the effects and the live runs.
        local: observes runs that were never placed.
        placer: talks to the engine or the callers; None for runs of an engine that is not
            configured any more: their claims still tell what becomes of them.
    """

    def __init__(
        self, context: DaemonContext, local: LocalLauncher, placer: Placer | None = None
    ) -> None:
        self._context = context
        self._local = local
        self._placer = placer

    @property
    def fd(self) -> int | None:
        """The placer's."""
        return None if self._placer is None else self._placer.fd

    def hear(self) -> list[Stimulus]:
        """Read what the engine's agent said: reasons to read claims."""
        return [] if self._placer is None else self._heard(self._placer.hear())

    def tend(self, now_mono_s: float) -> list[Stimulus]:
        """Start an agent if there is none."""
        return [] if self._placer is None else self._heard(self._placer.tend(now_mono_s))

    def helpers(self) -> tuple[Process, ...]:
        """The agent."""
        return () if self._placer is None else self._placer.helpers()

    def close(self) -> None:
        """Let the agent end; the engine keeps what it has."""
        if self._placer is not None:
            self._placer.close()

    def launch(self, handle: RunHandle) -> list[Stimulus]:
        """Place the next attempt, once it is on disk that we do."""
        placer, run = self._placer, handle.reader.run
        if placer is None:
            raise LookupError("no engine places runs")
        if not is_dir(run.path):
            return [stimuli.DirectoryGone(handle.run_id)]
        if not placer.may_begin(handle.run_id):
            return [stimuli.CallerGone(handle.run_id)]
        before = handle.placement or load_placement(run)
        placement = Placement(
            run=run,
            attempt=1 if before is None else before.attempt + 1,
            launcher=placer.name,
            resources=resources_of(handle.spec) if placer.takes_resources else {},
        )
        placement.store()
        handle.placement = placement
        placer.place(order_of(placement))
        return []

    def adopt(self, handle: RunHandle, about: Accepted, *, begun: bool) -> list[Stimulus] | None:
        """Take up a placed run; None if no attempt of it is outstanding or was begun."""
        placement, placer = load_placement(handle.reader.run), self._placer
        if placement is None or (placer is not None and placer.name != placement.launcher):
            return None
        if placement.stand is ClaimState.UNCLAIMED and not begun and placer is None:
            placement.take_back(self._context.clock)
        if placement.stand is ClaimState.TAKEN_BACK:
            return None
        handle.placement = placement
        if placement.stand is ClaimState.REVOKED:
            adopted = stimuli.Adopted(about, started=True)
            return [adopted, stimuli.WorkerGone(handle.run_id, _REVOKED)]
        if placement.stand is ClaimState.UNCLAIMED and not begun:
            if placer is not None:
                placer.place(order_of(placement))
            return [stimuli.Adopted(about, started=False)]
        placement.stand = ClaimState.CLAIMED
        self._context.log.write("run_adopted", run_id=handle.run_id)
        self._context.reporter.adopted(handle.spec)
        return [stimuli.Adopted(about, started=begun), *self._host_event(handle, placement)]

    def observe(self, handle: RunHandle, run: Run, *, is_due: bool) -> Observation:
        """Read new facts and the heartbeat, and the claim if the heartbeat did not move.

        A run that is on time is read once per heartbeat interval: each look asks the folder's
        server, and what ends sooner, its engine tells.
        """
        placement, reader = handle.placement, handle.reader
        if placement is None:
            return self._local.observe(handle, run, is_due=is_due)
        is_fresh = run.liveness is Liveness.FRESH
        was_begun = placement.stand is ClaimState.CLAIMED
        is_quiet = was_begun and placement.owed is None and type(run.state) is Running and is_fresh
        if is_quiet and not is_due:
            return Observation()
        has_moved = reader.heartbeat_moved(sure=is_fresh)
        news: list[Stimulus] = []
        if not is_fresh or reader.has_news():
            news += facts(self._context, handle)
        if placement.owed is not None:
            news += self._take_back(handle, placement, *placement.owed)
        was_begun = placement.stand is ClaimState.CLAIMED
        if not has_moved or not was_begun:
            news += self._check(handle, placement)
        if placement.stand is ClaimState.UNCLAIMED:
            news += self._if_abandoned(handle, placement)
        if placement.stand is not ClaimState.CLAIMED:
            return Observation(news=news)
        beat = has_moved or not was_begun
        is_late = not beat and not is_fresh and self._is_local(handle, placement)
        return Observation(news=news, beat=beat, is_stopped=is_late and stopped(handle))

    def _if_abandoned(self, handle: RunHandle, placement: Placement) -> list[Stimulus]:
        """The caller of a run may have ended before it began the run: then nobody will."""
        if self._placer is None or self._placer.may_begin(handle.run_id):
            return []
        try:
            if placement.take_back(self._context.clock):
                return [stimuli.CallerGone(handle.run_id)]
        except OSError as error:  # the next scan tries again
            self._context.log.write("take_back_failed", run_id=handle.run_id, why=str(error))
            return []
        return self._claimed(handle, placement)  # the lock is released once the claim is made

    def check(self, handle: RunHandle) -> list[Stimulus]:
        """The run's host gave a hint: the run has begun or ended."""
        if handle.placement is None:
            return []
        return [*facts(self._context, handle), *self._check(handle, handle.placement)]

    def exited(self, handle: RunHandle, exit_code: int | None) -> list[Stimulus]:
        """The keeper has exited; its claim tells how the worker ended."""
        if handle.placement is None:
            return self._local.exited(handle, exit_code)
        return self.check(handle)

    def _check(self, handle: RunHandle, placement: Placement) -> list[Stimulus]:
        """Read the claim: has somebody begun the run, and has that one ended?"""
        reader, was_begun = handle.reader, placement.stand is ClaimState.CLAIMED
        claim = placement.look()
        if reader.worker is not None and placement.stand is ClaimState.UNCLAIMED:
            placement.stand = ClaimState.CLAIMED  # a folder may show the claim after the journal
        if placement.stand is not ClaimState.CLAIMED:
            return []
        found = [] if was_begun else self._claimed(handle, placement)
        if self._placer is not None and self._placer.watches_keepers:
            claims.watch_keeper(handle, placement, self._context.mine)
        if reader.verdict is not None:
            return found
        ended = None if claim is None else claim.ended
        could_begin = ended is None or ended.exit_code != CannotBeginError.exit_code
        if not could_begin and reader.worker is None:
            return [*found, stimuli.LaunchFailed(handle.run_id, _CANNOT_BEGIN, transient=False)]
        reason = claims.reason_of_end(handle, placement, self._context.mine, self._context.log)
        if reason is not None:
            claims.reopen(reader.run.journal)
            found += facts(self._context, handle)
            if reader.verdict is None:
                found.append(stimuli.WorkerGone(handle.run_id, reason))
        return found

    def _claimed(self, handle: RunHandle, placement: Placement) -> list[Stimulus]:
        """Somebody has begun the run."""
        if self._placer is not None:
            self._placer.begun(placement.key)
        host = claims.host_of(handle, placement)
        facts_of = {"run_id": handle.run_id, "attempt": placement.attempt, "host": host}
        self._context.log.write("run_claimed", **facts_of)
        self._context.reporter.launched(handle.spec)
        return self._host_event(handle, placement)

    def _host_event(self, handle: RunHandle, placement: Placement) -> list[Stimulus]:
        """If the run was begun on another host: on which."""
        if self._is_local(handle, placement):
            return []
        return [stimuli.WorkerOnHost(handle.run_id, claims.host_of(handle, placement))]

    def _is_local(self, handle: RunHandle, placement: Placement) -> bool:
        return claims.is_local(handle, placement, self._context.mine)

    def _heard(self, answers: Iterable[Answer]) -> list[Stimulus]:
        found: list[Stimulus] = []
        log = self._context.log
        for answer in answers:
            match answer:
                case AgentReady():
                    log.write("engine_reached")
                case Note(text):
                    log.write("engine_note", text=text)
                    self._context.reporter.note(text)
                case Placed(key, job):
                    log.write("run_placed", key=key, job=job)
                case Refused(key, reason, transient):
                    log.write("placement_refused", key=key, why=reason)
                    found += self._done_with(key, reason, transient)
                case JobEnded(key, reason):
                    log.write("placement_ended", key=key, why=reason)
                    found += self._done_with(key, reason, True)
        return found

    def _done_with(self, key: str, reason: str, transient: bool) -> list[Stimulus]:
        """The engine is done with an attempt: take it back, or read the claim if it was begun."""
        handle = self._context.runs.get(key.rpartition(".")[0])
        placement = None if handle is None else handle.placement
        if handle is None or placement is None or placement.key != key:
            return []
        found = self._take_back(handle, placement, reason, transient)
        return found or self._check(handle, placement)

    def _take_back(
        self, handle: RunHandle, placement: Placement, reason: str, transient: bool
    ) -> list[Stimulus]:
        """Take an attempt back; nothing if somebody has begun it, or if we had already."""
        if placement.stand is not ClaimState.UNCLAIMED:
            placement.owed = None
            return []
        run_id = handle.run_id
        try:
            is_ours = placement.take_back(self._context.clock)
        except FileNotFoundError:
            return [stimuli.DirectoryGone(run_id)]
        except OSError as error:
            self._context.log.write("take_back_failed", run_id=run_id, why=str(error))
            placement.owed = reason, transient
            return []
        placement.owed = None
        if not is_ours:
            return self._claimed(handle, placement)
        # The first if it was to start, the second if it was to end.
        return [
            stimuli.LaunchFailed(run_id, reason, transient),
            stimuli.WorkerGone(run_id, "nobody had begun it"),
        ]

    def stop(self, handle: RunHandle) -> list[Stimulus]:
        """End a run: at once if nobody has begun it, else by its engine, and by signal if local."""
        placement = handle.placement
        if placement is None:
            return self._local.stop(handle)
        found = self._take_back(handle, placement, "it is to end", True)
        if self._placer is not None and placement.owed is None:
            self._placer.cancel(Cancel(placement.key, placement.stand is ClaimState.CLAIMED))
        if not found and self._is_local(handle, placement):
            found = self._local.stop(handle)
        return found

    def withdraw(self, handle: RunHandle) -> list[Stimulus]:
        """Take back what nobody has begun: it is queued again."""
        placement = handle.placement
        if placement is None or placement.stand is not ClaimState.UNCLAIMED:
            return []
        try:
            if not placement.take_back(self._context.clock):
                return self._claimed(handle, placement)
        except OSError as error:  # the next scan tries again
            self._context.log.write("take_back_failed", run_id=handle.run_id, why=str(error))
            return []
        if self._placer is not None:
            self._placer.cancel(Cancel(placement.key, claimed=False))
        return [stimuli.PlacementWithdrawn(handle.run_id)]

    def queue_name(self, handle: RunHandle) -> str | None:
        """The engine, as long as nobody has begun the run."""
        placement = handle.placement
        waits = placement is not None and placement.stand is ClaimState.UNCLAIMED
        return placement.launcher if placement is not None and waits else None

    def clean_up(self, handle: RunHandle) -> tuple[int, ...]:
        """Kill what is left on this host; on another host the keeper has killed what it could."""
        placement = handle.placement
        if placement is None or self._is_local(handle, placement):
            return self._local.clean_up(handle)
        ended = None if placement.claim is None else placement.claim.ended
        return () if ended is None else ended.leftover_pids

    def processes(self, handle: RunHandle) -> set[Process]:
        """Keeper and worker, if they are on this host: an agent that dies leaves them to us."""
        placement = handle.placement
        if placement is None:
            return set()
        claim = placement.claim or placement.look()  # who it is does not change
        if not self._is_local(handle, placement):
            return set()
        known = (None if claim is None else claim.holder, handle.reader.worker)
        return {(one.pid, one.start_ticks) for one in known if one is not None}

    def revoke(self, handle: RunHandle) -> bool:
        """Revoke the claim; the lock of a worker on another host could never be waited for."""
        placement = handle.placement
        if placement is None:
            return True
        placement.silence(self._context.clock)
        return placement.stand is ClaimState.TAKEN_BACK or self._is_local(handle, placement)

    def settle(self, handle: RunHandle) -> None:
        """Remove claims that somebody died writing."""
        if handle.placement is not None:
            handle.placement.sweep()

    def release(self, handle: RunHandle) -> None:
        """The engine, or a caller's host that still waits, need not begin the run any more."""
        key = None if handle.placement is None else handle.placement.key
        if self._placer is not None:
            self._placer.forget(handle.run_id, key)
