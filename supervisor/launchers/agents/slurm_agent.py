"""``python -m supervisor.launchers.agents.slurm_agent FD OPTIONS``: places attempts by sbatch.

An attempt is a job whose name is its key; see ``slurm_words``. Slurm is asked with one squeue for
all: two seconds after something happened, then more and more rarely, every 15 s at last. Sites ask
programs to poll little, and nothing hurries: a worker's beats and its keeper tell the rest sooner.
Each command has a deadline. Where Slurm does not answer, what is to be handed in waits here and is
tried again; since a submission without an answer may have arrived, the jobs are listed first then.
"""

import os
import random
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
from supervisor.launchers.agents.slurm_cli import AwayError, Done, call
from supervisor.launchers.agents.slurm_format import Job, Refusal
from workers.records.dataclass import dataclass
from workers.records.files import open_regular
from workers.records.typed_errors import TypedError

LOOK_FIRST_S: Final = 2.0
LOOK_MAX_S: Final = 15.0
AWAY_FIRST_S: Final = 1.0
AWAY_MAX_S: Final = 60.0
IDLE_S: Final = 60.0
# What a worker takes at most to end: its grace, then 10 s in which it looks for what it killed.
END_MARGIN_S: Final = 20.0
CHILD_S: Final = 60.0  # so long a sub-pipeline's run waits before its parent is thought of
KILL_AGAIN_S: Final = 30.0  # Slurm's own default between TERM and KILL (KillWait)


@dataclass(frozen=True, slots=True)
class _End:
    """A job that is to end: ``is_gentle`` where its worker is to do it itself, at first."""

    is_gentle: bool
    due_mono_s: float


class SlurmEngine:
    """Slurm, as the loop of an agent needs it.

    Args:
        python: the interpreter, by its path on the hosts.
        options: the operator's own words for sbatch.
        grace_s: how long a worker gives its stages between terminate and kill.
        call: runs a command.
        now: a monotonic clock.
    """

    def __init__(
        self,
        python: str,
        options: Sequence[str] = (),
        grace_s: float = 10.0,
        call: Callable[[Sequence[str], str], Done] = call,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._python = python
        self._options = tuple(options)
        self._patience_s = grace_s + END_MARGIN_S
        self._call = call
        self._now = now
        self._waiting: dict[str, Place] = {}
        self._jobs: dict[str, str] = {}
        self._ends: dict[str, _End] = {}
        self._listed: dict[str, Job] | None = None  # None: it is not known what Slurm has
        self._told_reasons: set[str] = set()
        self._children: dict[str, float] = {}  # the runs of sub-pipelines: when Slurm got them
        self._look_delay_s = LOOK_FIRST_S
        self._look_mono_s = now()
        self._away_delay_s = AWAY_FIRST_S
        self._retry_mono_s = 0.0
        self._is_away: bool | None = None  # None: it was not asked yet
        self._full_mono_s: float | None = None  # until then it takes no more jobs of ours

    @property
    def every_s(self) -> float:
        """Until something is due."""
        if self._is_away:
            due = [self._retry_mono_s]
        else:
            due = [end.due_mono_s for end in self._ends.values()]
            due += [self._look_mono_s] if self._jobs or self._ends else []
            due += [self._full_mono_s] if self._waiting and self._full_mono_s else []
        return max(0.0, min([self._now() + IDLE_S, *due]) - self._now())

    def fileno(self) -> None:
        """Only looking finds out."""
        return

    def place(self, order: Place) -> Iterator[Answer]:
        """Hand an attempt in, unless Slurm has it."""
        self._waiting[order.key] = order
        yield from self.look()

    def cancel(self, order: Cancel) -> Iterator[Answer]:
        """End a job: one that is claimed by its worker, in good order, any other at once."""
        if self._waiting.pop(order.key, None) is not None:
            yield JobEnded(order.key, "it was taken back before Slurm had it")
            return
        self._ends[order.key] = _End(is_gentle=order.claimed, due_mono_s=self._now())
        self._look_soon()

    def look(self) -> Iterator[Answer]:
        """Do what is due."""
        if self._is_away and self._now() < self._retry_mono_s:
            return
        try:
            yield from self._list_if_due()
            yield from self._hand_in()
            yield from self._end_due()
        except AwayError as error:
            yield from self._away(str(error))

    def close(self) -> None:
        """Nothing is held."""

    def _list_if_due(self) -> Iterator[Answer]:
        is_due = bool(self._jobs or self._ends) and self._now() >= self._look_mono_s
        if self._listed is None or is_due:
            yield from self._list()

    def _list(self) -> Iterator[Answer]:
        done = self._call(slurm_format.listing(), "")
        if done.code:
            raise AwayError(done.err or f"squeue ended with {done.code}")
        self._listed = slurm_format.parse_listing(done.out)
        self._look_delay_s = min(2 * self._look_delay_s, LOOK_MAX_S)
        self._look_mono_s = self._now() + self._look_delay_s
        if self._is_away is not False:
            if self._is_away:
                yield Note("Slurm answers again")
            self._is_away, self._away_delay_s = False, AWAY_FIRST_S
            yield AgentReady()
        yield from self._compare(self._listed)

    def _compare(self, listed: Mapping[str, Job]) -> Iterator[Answer]:
        """Tell what has ended, and what may never begin."""
        for key in [*self._jobs]:
            job = listed.get(key)
            if job is None or job.has_ended:
                words = "Slurm does not know it any more" if job is None else f"Slurm: {job.words}"
                yield self._ended(key, words)
            elif job.held_back_by is not None and job.held_back_by not in self._told_reasons:
                self._told_reasons.add(job.held_back_by)
                yield Note(f"Slurm does not start job {job.id} ({key}): {job.held_back_by}")
            elif job.state == "PENDING" and self._children.get(key, inf) <= self._now() - CHILD_S:
                del self._children[key]
                what = f"{key}, a sub-pipeline's, waits for a CPU, and its parent has one meanwhile"
                yield Note(f"{what}: max_runs has to stay below the CPUs that Slurm gives us")

    def _ended(self, key: str, words: str) -> JobEnded:
        for books in (self._jobs, self._ends, self._children):
            books.pop(key, None)
        self._look_soon()
        return JobEnded(key, words)

    def _hand_in(self) -> Iterator[Answer]:
        if self._full_mono_s is not None and self._now() < self._full_mono_s:
            return
        while self._waiting:
            if self._listed is None:
                yield from self._list()
            key, order = next(iter(self._waiting.items()))
            job = (self._listed or {}).get(key)
            answer: Answer = self._submit(order) if job is None else Placed(key, job.id)
            if isinstance(answer, Refused) and answer.transient and self._has_jobs():
                # The limit counts what we have there: there is room when some of it has ended.
                if self._full_mono_s is None:
                    yield Note(f"Slurm takes no more jobs now, and is asked again: {answer.why}")
                self._full_mono_s = self._now() + LOOK_MAX_S
                return
            self._full_mono_s = None
            self._waiting.pop(key, None)
            if isinstance(answer, Placed):
                self._jobs[key] = answer.job
                if not order.resources:  # see wire.Place
                    self._children[key] = self._now()
            self._look_soon()
            yield answer

    def _has_jobs(self) -> bool:
        listed = (self._listed or {}).values()
        return bool(self._jobs) or any(not job.has_ended for job in listed)

    def _submit(self, order: Place) -> Answer:
        try:
            # Slurm would make it readable for others; here it also shows that the run is there.
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            os.close(open_regular(slurm_format.log_of(order), flags))
        except (OSError, TypedError) as error:
            return Refused(order.key, str(error), transient=False)
        words = slurm_format.submit(order, self._options)
        self._listed, known = None, self._listed  # until it has answered
        done = self._call(words, slurm_format.script(order, self._python))
        job = None if done.code else slurm_format.parse_submitted(done.out)
        if job is not None:
            self._listed = known
            return Placed(order.key, job)
        why = done.err or f"sbatch ended with {done.code} and said {done.out[:200]!r}"
        what = slurm_format.refusal_of(why)
        if what is Refusal.AWAY:
            raise AwayError(why)
        self._listed = known
        return Refused(order.key, why, transient=what is Refusal.LATER)

    def _end_due(self) -> Iterator[Answer]:
        """End what is to end now: one command for all that are to be told the same."""
        due = [key for key, end in self._ends.items() if end.due_mono_s <= self._now()]
        if not due:
            return
        yield from self._list()  # an earlier agent may have handed it in
        gently: dict[str, str] = {}
        at_once: dict[str, str] = {}
        for key in due:
            job = (self._listed or {}).get(key)
            if job is None or job.has_ended:
                if key in self._ends:  # else the listing has told it
                    yield self._ended(key, "Slurm does not have it")
                continue
            self._jobs[key] = job.id
            # A signal to the script of a job that does not run is tried for 95 s.
            is_gentle = self._ends[key].is_gentle and job.state == "RUNNING"
            (gently if is_gentle else at_once)[key] = job.id
        self._tell_to_end(gently, ["--batch", "--signal=TERM"], self._patience_s)
        self._tell_to_end(at_once, [], KILL_AGAIN_S)

    def _tell_to_end(self, jobs: Mapping[str, str], how: Sequence[str], again_s: float) -> None:
        """Tell jobs to end; where they have not after so many seconds they are told to die."""
        if not jobs:
            return
        done = self._call(["scancel", *how, *jobs.values()], "")
        if done.code and slurm_format.refusal_of(done.err) is Refusal.AWAY:
            raise AwayError(done.err)
        for key in jobs:
            self._ends[key] = _End(is_gentle=False, due_mono_s=self._now() + again_s)
        self._look_soon()

    def _look_soon(self) -> None:
        self._look_delay_s = LOOK_FIRST_S
        self._look_mono_s = min(self._look_mono_s, self._now() + LOOK_FIRST_S)

    def _away(self, words: str) -> Iterator[Answer]:
        self._listed = None
        jitter = random.uniform(0.5, 1.0)  # noqa: S311 - so that not all ask at once
        self._retry_mono_s = self._now() + self._away_delay_s * jitter
        self._away_delay_s = min(2 * self._away_delay_s, AWAY_MAX_S)
        if not self._is_away:
            self._is_away = True
            yield Note(f"Slurm does not answer and is asked again: {words}")


def make(options: Mapping[str, Any]) -> SlurmEngine:
    """The engine that the settings want."""
    return SlurmEngine(
        python=sys.executable,
        options=[str(word) for word in options.get("slurm_options") or ()],
        grace_s=float(options.get("grace_s", 10.0)),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv, make))
