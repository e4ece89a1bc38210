"""Runs that an engine or a caller starts, on any host: placed, checked, withdrawn, stopped.

What an engine reports is a reason to read the claim (``claims``) and is never trusted. An unclaimed
run waits in the engine's queue, or for its caller, and its liveness is not judged.
"""

from collections.abc import Iterable
from typing import Final

from supervisor.core import stimuli
from supervisor.core.lifecycle import Run, Running
from supervisor.core.policy.liveness import Liveness
from supervisor.core.stimuli import Accepted, Stimulus
from supervisor.daemon import claims
from supervisor.daemon.context import DaemonContext
from supervisor.daemon.local_launcher import LocalLauncher, is_worker_stopped
from supervisor.daemon.observe import new_facts
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
from supervisor.launchers.placer import FORMER, Placer, order_of
from workers.processes.tree import Process
from workers.records.files import is_dir
from workers.records.typed_errors import CannotBeginError

_CANNOT_BEGIN: Final = "its worker could not begin; see .runs/.supervisor/workers.log"
_REVOKED: Final = "its worker sent no heartbeat and its claim was revoked"


class PlacedLauncher(Launcher):
    """Has runs started by an engine, or by their callers; see Launcher.

    A run without a placement is observed and cleaned up as a local one.
    """

    def __init__(self, context: DaemonContext, local: LocalLauncher, placer: Placer) -> None:
        self._context = context
        self._local = local
        self._placer = placer

    @property
    def fd(self) -> int | None:
        """The placer's."""
        return self._placer.fd

    def receive(self) -> list[Stimulus]:
        """Read the placer's answers."""
        return self._handle_answers(self._placer.receive())

    def maintain(self, now_mono_s: float) -> list[Stimulus]:
        """Start an agent if there is none."""
        return self._handle_answers(self._placer.maintain(now_mono_s))

    def helpers(self) -> tuple[Process, ...]:
        """The agent."""
        return self._placer.helpers()

    def close(self) -> None:
        """End the agent; the engine keeps its jobs."""
        self._placer.close()

    def launch(self, handle: RunHandle) -> list[Stimulus]:
        """Place the next attempt, after its record is on disk."""
        placer, run = self._placer, handle.reader.run
        if not is_dir(run.path):
            return [stimuli.DirectoryGone(handle.run_id)]
        if not placer.can_start(handle.run_id):
            return [stimuli.CallerGone(handle.run_id)]
        before = handle.placement or load_placement(run)
        placement = Placement(
            run=run,
            attempt=1 if before is None else before.attempt + 1,
            root_id=self._context.lease.root_id,
            launcher=placer.name,
            resources=resources_of(handle.spec) if placer.takes_resources else {},
        )
        placement.store()
        handle.placement = placement
        placer.place(order_of(placement))
        return []

    def adopt(self, handle: RunHandle, about: Accepted, *, begun: bool) -> list[Stimulus] | None:
        """Take over a placed run; None if no attempt of it is outstanding or claimed."""
        placer, root_id = self._placer, self._context.lease.root_id
        placement = load_placement(handle.reader.run, root_id)
        if placement is None or placer.name not in (placement.launcher, FORMER):
            return None
        if placement.state is ClaimState.UNCLAIMED and not begun and placer.name == FORMER:
            placement.withdraw(self._context.clock)
        if placement.state is ClaimState.WITHDRAWN:
            return None
        handle.placement = placement
        if placement.state is ClaimState.REVOKED:
            adopted = stimuli.Adopted(about, started=True)
            return [adopted, stimuli.WorkerGone(handle.run_id, _REVOKED)]
        if placement.state is ClaimState.UNCLAIMED and not begun:
            placer.place(order_of(placement))
            return [stimuli.Adopted(about, started=False)]
        placement.state = ClaimState.CLAIMED
        self._context.log.write("run_adopted", run_id=handle.run_id)
        self._context.reporter.adopted(handle.spec)
        return [stimuli.Adopted(about, started=begun), *self._host_event(handle, placement)]

    def observe(self, handle: RunHandle, run: Run, *, is_due: bool) -> Observation:
        """Read new facts and the heartbeat, and the claim if the heartbeat did not move.

        A run that is on time is read once per heartbeat interval: each read asks the folder's
        server, and the engine reports an earlier end.
        """
        placement, reader = handle.placement, handle.reader
        if placement is None:
            return self._local.observe(handle, run, is_due=is_due)
        is_fresh = run.liveness is Liveness.FRESH
        is_quiet = is_fresh and type(run.state) is Running and placement.owed is None
        if is_quiet and placement.state is ClaimState.CLAIMED and not is_due:
            return Observation()
        has_moved = reader.heartbeat_moved(sure=is_fresh)
        news: list[Stimulus] = []
        if not is_fresh or reader.has_news():
            news += new_facts(self._context, handle)
        if placement.owed is not None:
            news += self._give_up(handle, placement, *placement.owed)
        was_claimed = placement.state is ClaimState.CLAIMED
        if not has_moved or not was_claimed:
            news += self._check_claim(handle, placement)
        if placement.state is ClaimState.UNCLAIMED:
            news += self._check_caller(handle, placement)
        if placement.state is not ClaimState.CLAIMED:
            return Observation(news=news)
        has_beaten = has_moved or not was_claimed
        is_late = not has_beaten and not is_fresh and self._is_local(handle, placement)
        return Observation(
            news=news, has_beaten=has_beaten, is_stopped=is_late and is_worker_stopped(handle)
        )

    def _check_caller(self, handle: RunHandle, placement: Placement) -> list[Stimulus]:
        """Withdraw an unclaimed run whose caller has exited."""
        if self._placer.can_start(handle.run_id):
            return []
        is_withdrawn = self._withdraw(handle, placement)
        if is_withdrawn is None:  # the next scan tries again
            return []
        if is_withdrawn:
            return [stimuli.CallerGone(handle.run_id)]
        return self._on_claimed(handle, placement)  # the lock is released once the claim exists

    def check(self, handle: RunHandle) -> list[Stimulus]:
        """Read journal and claim: the run's host hinted that the run has begun or ended."""
        if handle.placement is None:
            return []
        return [*new_facts(self._context, handle), *self._check_claim(handle, handle.placement)]

    def exited(self, handle: RunHandle, exit_code: int | None) -> list[Stimulus]:
        """Handle the exit of the keeper; its claim says how the worker ended."""
        if handle.placement is None:
            return self._local.exited(handle, exit_code)
        return self.check(handle)

    def _check_claim(self, handle: RunHandle, placement: Placement) -> list[Stimulus]:
        """Read the claim: has the run begun, and has its worker ended?"""
        reader, was_claimed = handle.reader, placement.state is ClaimState.CLAIMED
        claim = placement.poll()
        if reader.worker is not None and placement.state is ClaimState.UNCLAIMED:
            placement.state = ClaimState.CLAIMED  # a folder may show the claim after the journal
        if placement.state is not ClaimState.CLAIMED:
            return []
        events = [] if was_claimed else self._on_claimed(handle, placement)
        if self._placer.watches_keepers:
            claims.watch_keeper(handle, placement, self._context.identity)
        if reader.verdict is not None:
            return events
        ended = None if claim is None else claim.ended
        could_begin = ended is None or ended.exit_code != CannotBeginError.exit_code
        if not could_begin and reader.worker is None:
            return [*events, stimuli.LaunchFailed(handle.run_id, _CANNOT_BEGIN, transient=False)]
        reason = claims.end_reason(handle, placement, self._context.identity, self._context.log)
        if reason is not None:
            claims.refresh_size(reader.run.journal)
            events += new_facts(self._context, handle)
            if reader.verdict is None:
                events.append(stimuli.WorkerGone(handle.run_id, reason))
        return events

    def _on_claimed(self, handle: RunHandle, placement: Placement) -> list[Stimulus]:
        self._placer.on_claimed(placement.key)
        host = claims.host_of(handle, placement)
        self._context.log.write(
            "run_claimed", run_id=handle.run_id, attempt=placement.attempt, host=host
        )
        self._context.reporter.launched(handle.spec)
        return self._host_event(handle, placement)

    def _host_event(self, handle: RunHandle, placement: Placement) -> list[Stimulus]:
        """The host of a run that was begun on another host."""
        if self._is_local(handle, placement):
            return []
        return [stimuli.WorkerOnHost(handle.run_id, claims.host_of(handle, placement))]

    def _is_local(self, handle: RunHandle, placement: Placement) -> bool:
        return claims.is_local(handle, placement, self._context.identity)

    def _handle_answers(self, answers: Iterable[Answer]) -> list[Stimulus]:
        events: list[Stimulus] = []
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
                    events += self._on_job_ended(key, reason, transient)
                case JobEnded(key, reason):
                    log.write("placement_ended", key=key, why=reason)
                    events += self._on_job_ended(key, reason, True)
        return events

    def _on_job_ended(self, key: str, reason: str, transient: bool) -> list[Stimulus]:
        """The engine no longer has an attempt: withdraw it, or read its claim if it has begun."""
        handle = self._context.runs.get(key.partition(".")[0])
        placement = None if handle is None else handle.placement
        if handle is None or placement is None or placement.key != key:
            return []
        events = self._give_up(handle, placement, reason, transient)
        return events or self._check_claim(handle, placement)

    def _give_up(
        self, handle: RunHandle, placement: Placement, reason: str, transient: bool
    ) -> list[Stimulus]:
        """Withdraw an attempt as failed; nothing if it is claimed or withdrawn already."""
        if placement.state is not ClaimState.UNCLAIMED:
            placement.owed = None
            return []
        run_id = handle.run_id
        is_withdrawn = self._withdraw(handle, placement)
        if is_withdrawn is None and not is_dir(placement.run.path):
            return [stimuli.DirectoryGone(run_id)]
        placement.owed = (reason, transient) if is_withdrawn is None else None
        if is_withdrawn is None:
            return []
        if not is_withdrawn:
            return self._on_claimed(handle, placement)
        # The core uses the first if the run was to start, the second if it was to end.
        return [
            stimuli.LaunchFailed(run_id, reason, transient),
            stimuli.WorkerGone(run_id, "it had not begun"),
        ]

    def _withdraw(self, handle: RunHandle, placement: Placement) -> bool | None:
        """Withdraw an attempt; False if it is claimed, None if the disk refuses."""
        try:
            return placement.withdraw(self._context.clock)
        except OSError as error:
            self._context.log.write("take_back_failed", run_id=handle.run_id, why=str(error))
            return None

    def stop(self, handle: RunHandle) -> list[Stimulus]:
        """End a run: withdraw it if unclaimed, else end its job, and signal it if it is local."""
        placement = handle.placement
        if placement is None:
            return self._local.stop(handle)
        events = self._give_up(handle, placement, "it is to end", True)
        if placement.owed is None:
            self._placer.cancel(Cancel(placement.key, placement.state is ClaimState.CLAIMED))
        if not events and self._is_local(handle, placement):
            events = self._local.stop(handle)
        return events

    def withdraw(self, handle: RunHandle) -> list[Stimulus]:
        """Withdraw an unclaimed run: it is queued again."""
        placement = handle.placement
        if placement is None or placement.state is not ClaimState.UNCLAIMED:
            return []
        is_withdrawn = self._withdraw(handle, placement)
        if is_withdrawn is None:  # the next scan tries again
            return []
        if not is_withdrawn:
            return self._on_claimed(handle, placement)
        self._placer.cancel(Cancel(placement.key, claimed=False))
        return [stimuli.PlacementWithdrawn(handle.run_id)]

    def queue_name(self, handle: RunHandle) -> str | None:
        """The engine, as long as the run is unclaimed."""
        placement = handle.placement
        if placement is None or placement.state is not ClaimState.UNCLAIMED:
            return None
        return placement.launcher

    def clean_up(self, handle: RunHandle) -> tuple[int, ...]:
        """Kill leftovers on this host; on another host the keeper has killed what it could."""
        placement = handle.placement
        if placement is None or self._is_local(handle, placement):
            return self._local.clean_up(handle)
        ended = None if placement.claim is None else placement.claim.ended
        return () if ended is None else ended.leftover_pids

    def processes(self, handle: RunHandle) -> set[Process]:
        """Keeper and worker, if they are on this host: orphans of an agent become our children."""
        placement = handle.placement
        if placement is None:
            return set()
        claim = placement.claim or placement.poll()  # its owner never changes
        if not self._is_local(handle, placement):
            return set()
        known = (None if claim is None else claim.holder, handle.reader.worker)
        return {(one.pid, one.start_ticks) for one in known if one is not None}

    def revoke(self, handle: RunHandle) -> bool:
        """Revoke the claim: the lock of a worker on another host cannot be waited for."""
        placement = handle.placement
        if placement is None:
            return True
        placement.revoke(self._context.clock)
        return placement.state is ClaimState.WITHDRAWN or self._is_local(handle, placement)

    def settle(self, handle: RunHandle) -> None:
        """Remove incomplete claims of dead writers."""
        if handle.placement is not None:
            handle.placement.sweep()

    def release(self, handle: RunHandle) -> None:
        """Let the engine, or a caller's host that still waits, drop the run."""
        self._placer.release(
            handle.run_id, None if handle.placement is None else handle.placement.key
        )
