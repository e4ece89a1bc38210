"""What the supervisor is doing when it dies, and what its runs come to when nothing goes wrong."""

from collections.abc import Mapping
from dataclasses import dataclass

MARK = "echo $SUPERVISED_RUN_ID $SUPERVISED_STAGE_ID $SUPERVISED_TRY >> $MARKS"
"""Every stage leaves a line outside the root, where no loss of power reaches it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One thing that a supervisor does.

    Attributes:
        batch: the batch, "" for none.
        before: command lines that end well before the one that dies.
        words: the command line that dies at its point; with a batch, also the one that recovers.
        expected: the status of each pipeline's runs when nothing goes wrong.
        runs_count: how many runs there are in the end, children included.
        codes: the exit codes when nothing goes wrong; with None where it was killed.
        behind: a ``run`` that waits in the background, under a temporary supervisor; () for none.
        engine: what the loopback engine, which places the runs then, is told; None: no engine does.
    """

    batch: str = ""
    before: tuple[tuple[str, ...], ...] = ()
    words: tuple[str, ...] = ("start", "--once")
    expected: Mapping[str, str]
    runs_count: int
    codes: frozenset[int]
    behind: tuple[str, ...] = ()
    engine: tuple[str, ...] | None = None

    @property
    def is_hosted(self) -> bool:
        """The command that dies hosts a run: without it the run may be cancelled."""
        return self.words[0] == "run"


def _stage(name: str, then: str = "") -> str:
    return f'{{ id = "{name}", command = "{MARK}{then}" }}'


SEVERAL = Scenario(
    batch=f"""
[[runs]]
pipeline = "good"
count = 2
[[runs]]
pipeline = "bad"
[pipelines.good]
stages = [{_stage("s")}]
[pipelines.bad]
stages = [{_stage("s", "; exit 3")}]
""",
    words=("start", "--once", "--batch", "batch.toml"),
    expected={"good": "succeeded", "bad": "failed"},
    runs_count=3,
    codes=frozenset({10}),
)

FAILING = Scenario(
    batch=f"""
[[runs]]
pipeline = "bad"
[pipelines.bad]
stages = [{_stage("s", "; exit 3")}]
""",
    words=("start", "--once", "--batch", "batch.toml"),
    expected={"bad": "failed"},
    runs_count=1,
    codes=frozenset({10}),
)
"""Its one worker also writes an error file."""

LIVING = Scenario(
    batch=f"""
[[runs]]
pipeline = "good"
count = 2
[pipelines.good]
stages = [{_stage("s", "; sleep 0.7")}]
""",
    words=("start", "--once", "--batch", "batch.toml"),
    expected={"good": "succeeded"},
    runs_count=2,
    codes=frozenset({0}),
)
"""Its workers are still at work when the next supervisor starts."""

PLACED = Scenario(
    batch=f"""
[[runs]]
pipeline = "good"
count = 2
[[runs]]
pipeline = "parent"
[pipelines.good]
stages = [{_stage("s")}]
[pipelines.parent]
stages = [{{ id = "sub", pipeline = "child" }}]
[pipelines.child]
stages = [{_stage("inner", "; exit 3")}]
""",
    words=("start", "--once", "--batch", "batch.toml"),
    expected={"good": "succeeded", "parent": "failed", "child": "failed"},
    runs_count=4,
    codes=frozenset({10}),
    engine=("lose",),
)
"""An engine places its runs, and loses the first of them."""

FAMILY = Scenario(
    batch=f"""
[[runs]]
pipeline = "parent"
task = "one"
[[runs]]
pipeline = "again"
task = "two"
[pipelines.parent]
stages = [{_stage("first")}, {{ id = "sub", pipeline = "child" }}, {_stage("last")}]
[pipelines.child]
stages = [{_stage("inner")}]
[pipelines.again]
[[pipelines.again.stages]]
id = "s"
command = "{MARK}; test $SUPERVISED_TRY -ge 2"
retries = {{ attempts = 2, delay_s = 0.01 }}
""",
    words=("start", "--once", "--batch", "batch.toml"),
    expected={"parent": "succeeded", "child": "succeeded", "again": "succeeded"},
    runs_count=3,
    codes=frozenset({0}),
)

AGAIN = Scenario(
    batch=f"""
[[runs]]
pipeline = "again"
[[pipelines.again.stages]]
id = "s"
command = "{MARK}; test $SUPERVISED_TRY -ge 2"
retries = {{ attempts = 2, delay_s = 0.01 }}
""",
    words=("start", "--once", "--batch", "batch.toml"),
    expected={"again": "succeeded"},
    runs_count=1,
    codes=frozenset({0}),
)
"""Its worker makes a stage twice."""

REQUESTS = Scenario(
    batch="",
    before=(("submit", "good"), ("submit", "bad"), ("submit", "good")),
    expected={"good": "succeeded", "bad": "failed"},
    runs_count=3,
    codes=frozenset({10}),
)

STEERED = Scenario(
    before=(
        ("submit", "steps"),
        ("start", "--once"),
        ("retry", "latest", "--from", "two"),
        ("submit", "--after", "latest", "good"),
        ("submit", "bad"),
        ("submit", "--after", "latest", "--priority", "5", "never"),
        ("pause",),
        ("resume",),
    ),
    expected={"steps": "succeeded", "good": "succeeded", "bad": "failed", "never": "cancelled"},
    runs_count=5,
    codes=frozenset({0, 10, 11}),
)
"""A retry that keeps a stage, runs that follow others, and a pause that is lifted."""

HOSTED = Scenario(
    words=("run", "outer"),
    expected={"outer": "succeeded", "steps": "succeeded"},
    runs_count=2,
    codes=frozenset({0}),
)
"""A run that its caller hosts, under a temporary supervisor, with a sub-pipeline."""

TAKEN_OVER = Scenario(
    behind=("run", "slow"),
    words=("start", "--once"),
    expected={"slow": "succeeded"},
    runs_count=1,
    codes=frozenset({0}),
)
"""A start takes the lease over from a temporary supervisor while a run waits."""

SUBMIT = Scenario(
    words=("submit", "good"),
    expected={"good": "succeeded"},
    runs_count=1,
    codes=frozenset({0}),
)

PROJECT = f"""
[pipelines.good]
stages = [{_stage("s")}]
[pipelines.bad]
stages = [{_stage("s", "; exit 3")}]
[pipelines.steps]
stages = [{_stage("one")}, {_stage("two")}]
[pipelines.slow]
stages = [{_stage("s", "; sleep 0.7")}]
[pipelines.outer]
stages = [{{ id = "sub", pipeline = "steps" }}, {_stage("last")}]
[pipelines.never]
stages = [{_stage("s")}]
"""
"""The project's own pipelines, for scenarios without a batch."""
