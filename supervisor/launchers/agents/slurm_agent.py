"""The agent of Slurm: submits attempts with sbatch.

An attempt is a job whose name is its key; see ``slurm_format``. One squeue polls all jobs: 2 s
after an event, then at growing intervals up to 15 s. Sites ask programs to poll rarely, and a
worker's heartbeat and its keeper report most things sooner. Each command has a deadline. If Slurm
does not answer, submissions wait here and are tried again; a submission without an answer may have
arrived, so the jobs are listed before the next one.
"""

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf
from typing import Any, Final

from supervisor.launchers.agents import slurm_format
from supervisor.launchers.agents.agent import main
from supervisor.launchers.agents.protocol import (
    AgentReady,
    Answer,
    Cancel,
    JobEnded,
    Note,
    Place,
    Placed,
    Refused,
)
from supervisor.launchers.agents.slurm_format import Job, Refusal
from workers.processes.inherited import POPEN_FDS_COUNT, inherited_limits
from workers.records.dataclass import dataclass
from workers.records.files import open_regular
from workers.records.typed_errors import TypedError

COMMAND_S: Final = 60.0  # Slurm's commands give up after 10 s without slurmctld, 50 s without munge
POLL_FIRST_S: Final = 2.0
POLL_MAX_S: Final = 15.0
AWAY_FIRST_S: Final = 1.0
AWAY_MAX_S: Final = 60.0
IDLE_S: Final = 60.0
END_MARGIN_S: Final = 20.0  # a worker needs its grace, then up to 10 s to check what it killed
CHILD_S: Final = 60.0  # a sub-pipeline's run that waits longer is reported
KILL_AGAIN_S: Final = 30.0  # Slurm's own default between TERM and KILL (KillWait)


class AwayError(Exception):
    """Slurm does not answer or cannot be asked; the text says why."""


@dataclass(frozen=True, slots=True)
class Completed:
    """The result of a command."""

    code: int
    out: str
    err: str


def call(argv: Sequence[str], text: str = "") -> Completed:
    """Run one of Slurm's commands; AwayError if it does not end or is not installed."""
    try:
        with inherited_limits(POPEN_FDS_COUNT):  # sbatch passes its limits on to the job
            done = subprocess.run(
                argv,
                input=text,
                env=slurm_format.environment(os.environ),
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=COMMAND_S,
                check=False,
            )
    except subprocess.TimeoutExpired:
        raise AwayError(f"{argv[0]} did not end within {COMMAND_S:g} s") from None
    except OSError as error:
        # A missing command also gives "Permission denied" if PATH has an unreadable directory.
        if shutil.which(argv[0]) is None:
            raise AwayError(f"{argv[0]} is not installed here") from None
        raise AwayError(f"{argv[0]}: {error.strerror}") from None
    return Completed(done.returncode, done.stdout, slurm_format.cleaned(done.stderr))


@dataclass(frozen=True, slots=True)
class _End:
    """A job that must end: ``is_gentle`` if its worker gets a signal first."""

    is_gentle: bool
    due_mono_s: float


class SlurmEngine:
    """Slurm, as an agent's loop needs it.

    Args:
        python: path of the interpreter on the hosts.
        options: extra ``sbatch`` arguments (``slurm_options``).
        grace_s: seconds that a worker gives its stages between terminate and kill.
        call: runs a command.
        now: a monotonic clock.
    """

    def __init__(
        self,
        python: str,
        options: Sequence[str] = (),
        grace_s: float = 10.0,
        call: Callable[[Sequence[str], str], Completed] = call,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._python = python
        self._options = tuple(options)
        self._gentle_s = grace_s + END_MARGIN_S
        self._call = call
        self._now = now
        self._waiting: dict[str, Place] = {}
        self._jobs: dict[str, str] = {}
        self._ends: dict[str, _End] = {}
        self._listed: dict[str, Job] | None = None  # None: unknown what Slurm has
        self._reported_reasons: set[str] = set()
        self._children: dict[str, float] = {}  # sub-pipelines' runs: when they were submitted
        self._poll_delay_s = POLL_FIRST_S
        self._poll_mono_s = now()
        self._away_delay_s = AWAY_FIRST_S
        self._retry_mono_s = 0.0
        self._is_away: bool | None = None  # None: not asked yet
        self._full_mono_s: float | None = None  # until then it takes no more jobs of ours

    @property
    def every_s(self) -> float:
        """Seconds until something is due."""
        if self._is_away:
            due = [self._retry_mono_s]
        else:
            due = [end.due_mono_s for end in self._ends.values()]
            due += [self._poll_mono_s] if self._jobs or self._ends else []
            due += [self._full_mono_s] if self._waiting and self._full_mono_s else []
        return max(0.0, min([self._now() + IDLE_S, *due]) - self._now())

    def fileno(self) -> None:
        """None: only polling finds out."""
        return

    def place(self, order: Place) -> Iterator[Answer]:
        """Submit an attempt, unless Slurm has it."""
        self._waiting[order.key] = order
        yield from self.poll()

    def cancel(self, order: Cancel) -> Iterator[Answer]:
        """End a job: a claimed one through its worker, any other at once."""
        if self._waiting.pop(order.key, None) is not None:
            yield JobEnded(order.key, "it was withdrawn before it was submitted to Slurm")
            return
        self._ends[order.key] = _End(is_gentle=order.claimed, due_mono_s=self._now())
        self._poll_soon()

    def poll(self) -> Iterator[Answer]:
        """Do what is due."""
        if self._is_away and self._now() < self._retry_mono_s:
            return
        try:
            is_due = bool(self._jobs or self._ends) and self._now() >= self._poll_mono_s
            if self._listed is None or is_due:
                yield from self._list()
            yield from self._submit_waiting()
            yield from self._end_due()
        except AwayError as error:
            yield from self._on_away(str(error))

    def close(self) -> None:
        """Does nothing."""

    def _list(self) -> Iterator[Answer]:
        done = self._call(slurm_format.listing(), "")
        if done.code:
            raise AwayError(done.err or f"squeue ended with {done.code}")
        self._listed = slurm_format.parse_listing(done.out)
        self._poll_delay_s = min(2 * self._poll_delay_s, POLL_MAX_S)
        self._poll_mono_s = self._now() + self._poll_delay_s
        if self._is_away is not False:
            if self._is_away:
                yield Note("Slurm answers again")
            self._is_away, self._away_delay_s = False, AWAY_FIRST_S
            yield AgentReady()
        yield from self._compare(self._listed)

    def _compare(self, listed: Mapping[str, Job]) -> Iterator[Answer]:
        """Report jobs that have ended, and jobs that may never begin."""
        for key in [*self._jobs]:
            job = listed.get(key)
            if job is None or job.has_ended:
                reason = "Slurm does not know it any more" if job is None else f"Slurm: {job.text}"
                yield self._ended(key, reason)
            elif job.hold_reason is not None and job.hold_reason not in self._reported_reasons:
                self._reported_reasons.add(job.hold_reason)
                yield Note(f"Slurm does not start job {job.id} ({key}): {job.hold_reason}")
            elif job.state == "PENDING" and self._children.get(key, inf) <= self._now() - CHILD_S:
                del self._children[key]
                text = f"{key}, a sub-pipeline's run, waits for a CPU while its parent holds one"
                yield Note(f"{text}: max_runs must be less than the CPUs that Slurm gives us")

    def _ended(self, key: str, reason: str) -> JobEnded:
        for by_key in (self._jobs, self._ends, self._children):
            by_key.pop(key, None)
        self._poll_soon()
        return JobEnded(key, reason)

    def _submit_waiting(self) -> Iterator[Answer]:
        if self._full_mono_s is not None and self._now() < self._full_mono_s:
            return
        while self._waiting:
            if self._listed is None:
                yield from self._list()
            key, order = next(iter(self._waiting.items()))
            job = (self._listed or {}).get(key)
            answer: Answer = self._submit(order) if job is None else Placed(key, job.id)
            if isinstance(answer, Refused) and answer.transient and self._has_jobs():
                # The limit counts our jobs there: there is room when some of them have ended.
                if self._full_mono_s is None:
                    yield Note(f"Slurm takes no more jobs now; retrying: {answer.reason}")
                self._full_mono_s = self._now() + POLL_MAX_S
                return
            self._full_mono_s = None
            self._waiting.pop(key, None)
            if isinstance(answer, Placed):
                self._jobs[key] = answer.job
                if not order.resources:  # see protocol.Place
                    self._children[key] = self._now()
            self._poll_soon()
            yield answer

    def _has_jobs(self) -> bool:
        listed = (self._listed or {}).values()
        return bool(self._jobs) or any(not job.has_ended for job in listed)

    def _submit(self, order: Place) -> Answer:
        try:
            # Slurm would create it readable for others; this also shows that the run exists.
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            os.close(open_regular(slurm_format.log_of(order), flags))
        except (OSError, TypedError) as error:
            return Refused(order.key, str(error), transient=False)
        argv = slurm_format.submit(order, self._options)
        self._listed, known = None, self._listed  # until it has answered
        done = self._call(argv, slurm_format.script(order, self._python))
        job = None if done.code else slurm_format.parse_submitted(done.out)
        if job is not None:
            self._listed = known
            return Placed(order.key, job)
        reason = done.err or f"sbatch ended with {done.code} and printed {done.out[:200]!r}"
        refusal = slurm_format.refusal_of(reason)
        if refusal is Refusal.AWAY:
            raise AwayError(reason)
        self._listed = known
        return Refused(order.key, reason, transient=refusal is Refusal.LATER)

    def _end_due(self) -> Iterator[Answer]:
        """End the jobs that are due, with one command per kind of end."""
        due = [key for key, end in self._ends.items() if end.due_mono_s <= self._now()]
        if not due:
            return
        yield from self._list()  # an earlier agent may have submitted it
        gently: dict[str, str] = {}
        at_once: dict[str, str] = {}
        for key in due:
            job = (self._listed or {}).get(key)
            if job is None or job.has_ended:
                if key in self._ends:  # else the listing has reported it
                    yield self._ended(key, "Slurm does not have it")
                continue
            self._jobs[key] = job.id
            # Slurm retries a signal to the script of a pending job for 95 s.
            is_gentle = self._ends[key].is_gentle and job.state == "RUNNING"
            (gently if is_gentle else at_once)[key] = job.id
        self._scancel(gently, ["--batch", "--signal=TERM"], self._gentle_s)
        self._scancel(at_once, [], KILL_AGAIN_S)

    def _scancel(self, jobs: Mapping[str, str], options: Sequence[str], again_s: float) -> None:
        """Run scancel; jobs that have not ended after ``again_s`` are then killed."""
        if not jobs:
            return
        done = self._call(["scancel", *options, *jobs.values()], "")
        if done.code and slurm_format.refusal_of(done.err) is Refusal.AWAY:
            raise AwayError(done.err)
        for key in jobs:
            self._ends[key] = _End(is_gentle=False, due_mono_s=self._now() + again_s)
        self._poll_soon()

    def _poll_soon(self) -> None:
        self._poll_delay_s = POLL_FIRST_S
        self._poll_mono_s = min(self._poll_mono_s, self._now() + POLL_FIRST_S)

    def _on_away(self, reason: str) -> Iterator[Answer]:
        self._listed = None
        jitter = random.uniform(0.5, 1.0)  # noqa: S311 - so that not all ask at once
        self._retry_mono_s = self._now() + self._away_delay_s * jitter
        self._away_delay_s = min(2 * self._away_delay_s, AWAY_MAX_S)
        if not self._is_away:
            self._is_away = True
            yield Note(f"Slurm does not answer; retrying: {reason}")


def make(options: Mapping[str, Any]) -> SlurmEngine:
    """The engine of the settings."""
    return SlurmEngine(
        python=sys.executable,
        options=[str(word) for word in options.get("slurm_options") or ()],
        grace_s=float(options.get("grace_s", 10.0)),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv, make))
