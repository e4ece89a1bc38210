"""The runs of a round, and how they must end.

A plan is computed from a name, a number of runs and a seed, and written as a configuration and a
batch such as an operator would write. Every pipeline defines how its runs must end.
"""

import json
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from workers.records.layout import Layout

TASK: Final = "stress"
BATCH: Final = "batch.toml"
GATE: Final = "gate"
ARRIVED: Final = "arrived"
LEAST_RUNS: Final = 8  # the standard scenario has four runs of a kind of their own, and groups
CHATTY_BYTES: Final = 10 * 1024 * 1024  # 160 times the limit of a stream
_GATE: Final = f': > "{ARRIVED}/$SUPERVISED_RUN_ID"; cat {GATE}'
# NULs, control characters, 4-byte characters, a byte that is no UTF-8, a right-to-left override.
_HOSTILE: Final = (
    "echo to stdout; head -c 3000 /dev/zero >&2; "
    "yes \"$(printf '\\001\\033[31m\\177\\360\\237\\222\\251\\342\\200\\256\\377 \\\\ ')\" | "
    "head -c 70000 >&2; exit 3"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One command and how it must end; ``seen_bytes``: the size of its stdout, None for any."""

    id: str
    command: str | tuple[str, ...]
    status: str = "succeeded"
    exit_code: int | None = 0
    signal: str | None = None
    seen_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """``count`` runs that must all end with ``status`` and ``detail``."""

    id: str
    stages: tuple[Stage, ...]
    count: int = 1
    status: str = "succeeded"
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One round.

    Attributes:
        name: the scenario's.
        pipelines: in the order of the batch.
        gated_count: how many runs wait for the gate.
        lock_held: the task's lock is held until a snapshot is owed.
        leftover_lock: a lock file exists before the first round.
        exit_code: the required exit code of the supervisor.
    """

    name: str
    pipelines: tuple[Pipeline, ...]
    gated_count: int = 0
    lock_held: bool = False
    leftover_lock: bool = False
    exit_code: int = 0

    @property
    def runs_count(self) -> int:
        """The number of runs of one round."""
        return sum(pipeline.count for pipeline in self.pipelines)


def _one(name: str, command: str | tuple[str, ...], count: int = 1) -> Pipeline:
    return Pipeline(id=name, stages=(Stage(id="only", command=command),), count=count)


def _gated(count: int) -> Pipeline:
    return Pipeline(id="gated", stages=(Stage(id="wait", command=_GATE),), count=count)


def _standard(runs_count: int, chance: random.Random) -> Plan:
    gated_count, naps_count = max(2, runs_count // 4), max(1, runs_count // 4)
    never = Stage(id="never", command="exit 9", status="pending", exit_code=None)
    first = Stage(id="first", command=("true",))
    fails = Stage(id="fails", command=_HOSTILE, status="failed", exit_code=3)
    dies = Stage(
        id="dies", command="kill -KILL $$", status="failed", exit_code=None, signal="SIGKILL"
    )
    chatty = f"yes \"$(printf '\\360\\237\\222\\245')\" | head -c {CHATTY_BYTES}"  # 4 bytes each
    special = [
        Pipeline(id="chatty", stages=(Stage(id="s", command=chatty, seen_bytes=CHATTY_BYTES),)),
        Pipeline(
            id="failing", stages=(first, fails, never), status="failed", detail="stage:fails:failed"
        ),
        Pipeline(id="dying", stages=(dies, never), status="failed", detail="stage:dies:failed"),
        # It ignores TERM and leads a session of its own: only killing all leftovers ends it.
        _one("littering", "(trap '' TERM; exec setsid sleep 300 >/dev/null 2>&1) & exit 0"),
    ]
    naps = [
        _one(f"nap-{number}", ("sleep", f"{chance.uniform(0.1, 2.0):.2f}"))
        for number in range(1, naps_count + 1)
    ]
    quick_count = runs_count - len(special) - naps_count - gated_count
    quick = Pipeline(id="quick", stages=(first, Stage(id="second", command=":")), count=quick_count)
    pipelines = [*special, *naps, _gated(gated_count), *([quick] if quick_count else [])]
    chance.shuffle(pipelines)
    return Plan(
        name="standard",
        pipelines=tuple(pipelines),
        gated_count=gated_count,
        lock_held=True,
        leftover_lock=True,
        exit_code=10,  # docs/reference: a run failed
    )


SCENARIOS: Final = ("standard", "true", "sleep", "barrier")


def make_plan(name: str, runs_count: int, seed: int) -> Plan:
    """Create a plan.

    Args:
        name: one of SCENARIOS.
        runs_count: runs at once, at least LEAST_RUNS for the standard scenario and 1 otherwise.
        seed: of all random choices.
    """
    if name == "standard":
        return _standard(runs_count, random.Random(seed))
    if name == "barrier":
        return Plan(name=name, pipelines=(_gated(runs_count),), gated_count=runs_count)
    commands = {"true": ("true",), "sleep": ("sleep", "2")}
    return Plan(name=name, pipelines=(_one(name, commands[name], runs_count),))


def write_config(plan: Plan, layout: Layout, *, beat_s: float, launcher: Mapping[str, str]) -> None:
    """Write ``config/supervisor.toml`` and the batch.

    Args:
        plan: the round.
        layout: the root, which exists.
        beat_s: the heartbeat's interval in seconds; every guardrail keeps its default limit.
        launcher: the settings of the launcher.
    """
    os.makedirs(os.path.join(layout.root, "config"))
    settings: dict[str, object] = {
        "max_runs": plan.runs_count,
        "default_task": TASK,
        "heartbeat_interval_s": beat_s,
        "grace_s": 2.0,  # only leftovers of the littering stage are terminated
        **launcher,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    _write(layout, "config/supervisor.toml", ["[supervisor]", *lines])
    batch: list[str] = []
    for pipeline in plan.pipelines:
        batch += ["[[runs]]", f'pipeline = "{pipeline.id}"', f"count = {pipeline.count}"]
    for pipeline in plan.pipelines:
        batch.append(f"[pipelines.{pipeline.id}]")
        for stage in pipeline.stages:
            batch.append(f"[[pipelines.{pipeline.id}.stages]]")
            # A JSON string in ASCII is a TOML string, too.
            batch += [f'id = "{stage.id}"', f"command = {json.dumps(stage.command)}"]
    _write(layout, BATCH, batch)


def _write(layout: Layout, name: str, lines: list[str]) -> None:
    with open(os.path.join(layout.root, name), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
