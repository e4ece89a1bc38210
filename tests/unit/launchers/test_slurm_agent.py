"""The Slurm agent against a Slurm that exists in this file only."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

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
from supervisor.launchers.agents.slurm_agent import POLL_MAX_S, AwayError, Completed, SlurmEngine


@dataclass
class FakeSlurm:
    """Jobs by number: name, state and reason."""

    jobs: dict[str, list[str]] = field(default_factory=dict)
    calls: list[list[str]] = field(default_factory=list)
    is_away: bool = False
    loses_answers: bool = False
    refuses: str = ""
    now: float = 100.0

    def call(self, argv: Sequence[str], text: str) -> Completed:
        self.calls.append(list(argv))
        if self.is_away:
            raise AwayError("Unable to contact slurm controller (connect failure)")
        match argv[0]:
            case "squeue":
                lines = [
                    f"{job}|{state}|{reason}|{name}"
                    for job, (name, state, reason) in self.jobs.items()
                ]
                return Completed(0, "\n".join(lines), "")
            case "sbatch":
                assert text.startswith("#!/bin/sh\n")
                return self._submit(argv)
            case _:
                return Completed(0, "", "")

    def _submit(self, argv: Sequence[str]) -> Completed:
        if self.refuses:
            return Completed(1, "", self.refuses)
        job = str(len(self.jobs) + 1)
        (name,) = (word.partition("=")[2] for word in argv if word.startswith("--job-name="))
        self.jobs[job] = [name, "PENDING", "None"]
        if self.loses_answers:
            raise AwayError("Socket timed out on send/recv operation")
        return Completed(0, f"{job}\n", "")

    def calls_of(self, program: str) -> list[list[str]]:
        return [argv for argv in self.calls if argv[0] == program]


@dataclass
class Bench:
    """An engine on a fake Slurm, and everything that it answered."""

    slurm: FakeSlurm
    engine: SlurmEngine
    folder: Path
    answers: list[Answer] = field(default_factory=list)

    def place(self, key: str, *, slots: int = 1) -> list[Answer]:
        resources = {"slot": slots} if slots else {}
        order = Place(key=key, run_dir=str(self.folder), attempt=1, resources=resources)
        return self.apply(self.engine.place(order))

    def cancel(self, key: str, *, claimed: bool) -> list[Answer]:
        answers = self.apply(self.engine.cancel(Cancel(key, claimed)))
        return [*answers, *self.poll()]

    def poll(self, later_s: float = 0.0) -> list[Answer]:
        self.slurm.now += later_s
        return self.apply(self.engine.poll())

    def apply(self, answers: Iterable[Answer]) -> list[Answer]:
        answers = list(answers)
        self.answers += answers
        return answers

    def another(self) -> "Bench":
        """An agent that takes the place of this one, which was killed."""
        return bench_on(self.slurm, self.folder)


def bench_on(slurm: FakeSlurm, folder: Path) -> Bench:
    engine = SlurmEngine("/py", grace_s=10.0, call=slurm.call, now=lambda: slurm.now)
    return Bench(slurm, engine, folder)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return bench_on(FakeSlurm(), tmp_path)


def test_the_agent_is_ready_when_slurm_answers(bench: Bench) -> None:
    assert bench.poll() == [AgentReady()]
    assert bench.poll() == []


def test_key_that_slurm_has_is_not_submitted_again(bench: Bench) -> None:
    bench.place("r.1")
    later = bench.another()
    assert later.place("r.1") == [AgentReady(), Placed("r.1", "1")]
    assert len(bench.slurm.jobs) == 1


def test_submission_without_an_answer_is_found_and_not_repeated(bench: Bench) -> None:
    bench.poll()
    bench.slurm.loses_answers = True
    (note,) = bench.place("r.1")
    assert isinstance(note, Note)
    bench.slurm.loses_answers = False
    assert Placed("r.1", "1") in bench.poll(later_s=5)
    assert len(bench.slurm.jobs) == 1


def test_attempts_wait_while_slurm_is_away_and_the_operator_is_notified_once(bench: Bench) -> None:
    bench.slurm.is_away = True
    for key in ("a.1", "b.1"):
        bench.place(key)
    for _ in range(20):
        bench.poll(later_s=10)
    assert [type(answer) for answer in bench.answers] == [Note]
    assert len(bench.slurm.calls) < 12  # 200 s, more and more rarely
    bench.slurm.is_away = False
    answers = bench.poll(later_s=60)
    assert {AgentReady(), Placed("a.1", "1"), Placed("b.1", "2")} <= {*answers}


def test_attempt_that_slurm_rejects_is_refused_with_its_message(bench: Bench) -> None:
    bench.slurm.refuses = "invalid partition specified: nope"
    assert bench.place("r.1")[-1] == Refused("r.1", bench.slurm.refuses, transient=False)


LIMIT = "Job violates accounting/QOS policy (job submit limit)"


def test_attempt_over_a_limit_waits_for_room_and_the_operator_is_notified_once(
    bench: Bench,
) -> None:
    bench.place("a.1")
    bench.slurm.refuses = LIMIT
    (note,) = bench.place("b.1")
    assert isinstance(note, Note)
    assert bench.place("c.1") == []
    for _ in range(60):
        assert bench.poll(later_s=1) == []
    assert len(bench.slurm.calls_of("sbatch")) < 8
    bench.slurm.refuses = ""
    assert bench.poll(later_s=15) == [Placed("b.1", "2"), Placed("c.1", "3")]


def test_limit_without_other_jobs_is_a_refusal(bench: Bench) -> None:
    bench.slurm.refuses = LIMIT
    assert bench.place("r.1")[-1] == Refused("r.1", LIMIT, transient=True)


def test_run_without_a_directory_is_refused(bench: Bench, tmp_path: Path) -> None:
    bench.folder = tmp_path / "gone"
    (*_, refused) = bench.place("r.1")
    assert isinstance(refused, Refused)
    assert bench.slurm.calls_of("sbatch") == []


def test_job_output_is_readable_by_the_owner_only(bench: Bench) -> None:
    bench.place("r.1")
    assert (bench.folder / "slurm.1.log").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "NODE_FAIL", "TIMEOUT"])
def test_ended_job_is_reported_once_with_slurms_state(bench: Bench, state: str) -> None:
    bench.place("r.1")
    bench.slurm.jobs["1"][1] = state
    assert bench.poll(later_s=3) == [JobEnded("r.1", f"Slurm: {state}")]
    assert bench.poll(later_s=60) == []


def test_job_that_slurm_has_forgotten_has_ended(bench: Bench) -> None:
    bench.place("r.1")
    bench.slurm.jobs.clear()
    assert bench.poll(later_s=3) == [JobEnded("r.1", "Slurm does not know it any more")]


def test_slurm_that_does_not_answer_ends_no_job(bench: Bench) -> None:
    bench.place("r.1")
    bench.slurm.is_away = True
    assert [type(answer) for answer in bench.poll(later_s=3)] == [Note]


def test_many_jobs_are_polled_together_at_growing_intervals(bench: Bench) -> None:
    for n in range(50):
        bench.place(f"{n}.1")
    before = len(bench.slurm.calls_of("squeue"))
    for _ in range(600):
        bench.poll(later_s=1)
    asked = len(bench.slurm.calls_of("squeue")) - before
    assert asked <= 600 / POLL_MAX_S + 5
    assert bench.engine.every_s <= POLL_MAX_S


def test_job_that_may_never_start_is_reported_once(bench: Bench) -> None:
    bench.place("r.1")
    bench.slurm.jobs["1"][2] = "PartitionConfig"
    (note,) = bench.poll(later_s=3)
    assert isinstance(note, Note)
    assert "PartitionConfig" in note.text
    assert bench.poll(later_s=60) == []


def test_child_without_room_is_reported_once_with_the_fix(bench: Bench) -> None:
    bench.place("parent.1")
    bench.place("child.1", slots=0)
    assert [answer for s in range(50) for answer in bench.poll(later_s=1)] == []
    notes = [answer for s in range(600) for answer in bench.poll(later_s=1)]
    (note,) = notes
    assert isinstance(note, Note)
    assert note.text.startswith("child.1, ")
    assert "max_runs" in note.text


def test_waiting_attempt_is_withdrawn_without_slurm(bench: Bench) -> None:
    bench.slurm.is_away = True
    bench.place("r.1")
    (ended,) = bench.cancel("r.1", claimed=False)
    assert isinstance(ended, JobEnded)
    bench.slurm.is_away = False
    bench.poll(later_s=60)
    assert bench.slurm.jobs == {}


def test_worker_is_terminated_first_and_killed_later(bench: Bench) -> None:
    bench.place("r.1")
    bench.slurm.jobs["1"][1] = "RUNNING"
    bench.cancel("r.1", claimed=True)
    assert bench.slurm.calls_of("scancel") == [["scancel", "--batch", "--signal=TERM", "1"]]
    for _ in range(31):
        bench.poll(later_s=1)
    assert bench.slurm.calls_of("scancel")[1:] == [["scancel", "1"]]
    bench.slurm.jobs["1"][1] = "CANCELLED"
    assert bench.poll(later_s=15) == [JobEnded("r.1", "Slurm: CANCELLED")]
    bench.poll(later_s=600)
    assert len(bench.slurm.calls_of("scancel")) == 2


def test_unclaimed_job_is_ended_at_once(bench: Bench) -> None:
    bench.place("r.1")
    bench.cancel("r.1", claimed=False)
    assert bench.slurm.calls_of("scancel") == [["scancel", "1"]]


def test_script_of_a_pending_job_gets_no_signal(bench: Bench) -> None:
    bench.place("r.1")
    bench.cancel("r.1", claimed=True)
    assert bench.slurm.calls_of("scancel") == [["scancel", "1"]]


def test_job_of_an_earlier_agent_can_be_ended(bench: Bench) -> None:
    bench.place("r.1")
    later = bench.another()
    later.cancel("r.1", claimed=False)
    assert later.slurm.calls_of("scancel") == [["scancel", "1"]]
    assert later.cancel("unknown.1", claimed=False)[-1] == JobEnded(
        "unknown.1", "Slurm does not have it"
    )


def test_cancellation_is_repeated_if_slurm_was_away(bench: Bench) -> None:
    bench.place("r.1")
    bench.slurm.is_away = True
    bench.cancel("r.1", claimed=False)
    bench.slurm.is_away = False
    bench.poll(later_s=60)
    assert bench.slurm.calls_of("scancel") == [["scancel", "1"]]
