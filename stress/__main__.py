"""``python -m stress``: many runs at once, under interference, checked against the guardrails.

Exit code 0 if nothing is breached, 1 otherwise, 2 for usage.
"""

import argparse
import contextlib
import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stress.chaos.outcome import lines_of as chaos_lines
from stress.chaos.outcome import to_json as chaos_json
from stress.chaos.run import run as run_chaos
from stress.cluster import Cluster, cluster_in
from stress.drive import Round
from stress.evidence import gather
from stress.judge import Judgement, judge
from stress.outside import Outside, lease_is_free
from stress.scenario import LEAST_RUNS, SCENARIOS, TASK, Plan, make_plan, write_config
from stress.table import SCHEMA, lines_of, to_json, verdict_line
from workers.records.layout import Layout

LAUNCHERS: Final = ("zygote", "exec", "dask")
DEFAULT: Final = "zygote"


@dataclass(frozen=True, slots=True)
class Result:
    """The result of all rounds; ``duration_s`` excludes the checks."""

    judgement: Judgement
    rounds_count: int
    duration_s: float


def stress(
    plan: Plan,
    directory: str,
    *,
    rounds_count: int,
    beat_s: float,
    deadline_s: float,
    launcher: str,
    cluster: Cluster | None = None,
) -> Result:
    """Run rounds in one root, so that its history accumulates, up to the first breach.

    Args:
        plan: the runs of each round.
        directory: an existing empty directory, in which the root is created as ``root``.
        rounds_count: the maximum number of rounds.
        beat_s: the heartbeat's interval in seconds.
        deadline_s: for each round, in seconds.
        launcher: a value of the setting ``launcher``.
        cluster: a Dask cluster that places the runs; two of its processes are killed in each
            round. None without Dask.
    """
    layout = Layout(os.path.join(os.path.realpath(directory), "root"))
    os.makedirs(layout.root)
    settings = {"launcher": launcher}
    if cluster is not None:
        settings["dask_scheduler"] = cluster.address
    write_config(plan, layout, beat_s=beat_s, launcher=settings)
    outsides: list[Outside] = []
    duration_s = 0.0

    def trouble() -> None:
        if cluster is not None:
            cluster.kill(cluster.workers.pop(0))
            cluster.kill(cluster.scheduler)
            cluster.start_scheduler()
            cluster.start_worker(plan.runs_count)

    while True:
        began = time.monotonic()
        breaks = None if cluster is None else trouble
        outsides.append(Round(plan, layout, directory, deadline_s, breaks).run())
        duration_s += time.monotonic() - began
        evidence = gather(layout, TASK)
        judgement = judge(plan, evidence, outsides, lease_free=lease_is_free(layout))
        if judgement.breaches or len(outsides) >= rounds_count:
            return Result(judgement, len(outsides), duration_s)


def _parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m stress", description="Stress the supervisor and check its guardrails."
    )
    add = parser.add_argument
    add("--runs", type=int, default=50, metavar="N", help="runs at once (default: 50)")
    add("--rounds", type=int, default=1, metavar="N", help="rounds in one root (default: 1)")
    add(
        "--scenario",
        choices=SCENARIOS,
        default="standard",
        help="stages (default: standard)",
    )
    add("--seed", type=int, metavar="S", help="repeat the random choices of an earlier run")
    add("--beat", type=float, default=0.5, metavar="S", help="heartbeat interval (default: 0.5)")
    add("--deadline", type=float, metavar="S", help="per round (default: 60 + 2 per run)")
    add("--launcher", choices=LAUNCHERS, default=DEFAULT, help="how workers start")
    add("--chaos", action="store_true", help="break things at random, check the invariants")
    add("--seconds", type=float, default=10.0, metavar="S", help="duration of chaos (default: 10)")
    add("--json", action="store_true", help="print one object and nothing else")
    add("--keep", action="store_true", help="keep the root and print its path")
    given = parser.parse_args(argv)
    least = LEAST_RUNS if given.scenario == "standard" else 1
    if given.runs < least:
        parser.error(f"--runs must be at least {least} for the scenario {given.scenario}")
    if given.rounds < 1 or given.beat <= 0:
        parser.error("--rounds and --beat must be positive")
    if given.seed is None:
        given.seed = secrets.randbelow(1_000_000)
    if given.deadline is None:
        given.deadline = 60.0 + 2.0 * given.runs
    return given


def main(argv: list[str] | None = None) -> int:
    """Run the suite and return the exit code."""
    given = _parse_arguments(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and clean up
    if given.chaos:
        return _chaos(given)
    plan = make_plan(given.scenario, given.runs, given.seed)
    directory = tempfile.mkdtemp(prefix="stress-")
    keep = given.keep
    try:
        with contextlib.ExitStack() as held:
            cluster = None
            if given.launcher == "dask":
                place = Path(directory, "dask")
                slots = (plan.runs_count + 1) // 2
                cluster = held.enter_context(cluster_in(place, slots, slots))
            result = stress(
                plan,
                directory,
                rounds_count=given.rounds,
                beat_s=given.beat,
                deadline_s=given.deadline,
                launcher=given.launcher,
                cluster=cluster,
            )
        keep = keep or bool(result.judgement.breaches)
    finally:
        if keep:
            print(f"stress: kept: {directory}", file=sys.stderr)
        else:
            shutil.rmtree(directory, ignore_errors=True)
    _print(given, result, directory if keep else None)
    return 1 if result.judgement.breaches else 0


def _chaos(given: argparse.Namespace) -> int:
    outcome, kept = run_chaos(seed=given.seed, seconds=given.seconds, keep=given.keep)
    if given.json:
        print(json.dumps(chaos_json(outcome) | {"kept": kept}))
    else:
        print("\n".join(chaos_lines(outcome)))
    return 1 if outcome.broken else 0


def _print(given: argparse.Namespace, result: Result, kept: str | None) -> None:
    if given.json:
        facts = {
            "schema": SCHEMA,
            "scenario": given.scenario,
            "seed": given.seed,
            "runs": given.runs,
            "rounds": result.rounds_count,
            "duration_s": round(result.duration_s, 3),
            "kept": kept,
        }
        print(json.dumps(facts | to_json(result.judgement)))
        return
    print("\n".join(lines_of(result.judgement)))
    where = "" if given.launcher == DEFAULT else f" by {given.launcher}"
    about = (
        f"{given.scenario}{where}, {given.runs} runs at once, rounds {result.rounds_count}, "
        f"{result.duration_s:.1f} s, seed {given.seed}"
    )
    print(f"\n{verdict_line(result.judgement, about)}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
