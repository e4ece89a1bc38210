"""``supervisor gc``: retention of finished runs."""

import re
import time
from dataclasses import dataclass, field
from typing import Any, Final

import click

from supervisor.commands.options import json_option, root_options
from supervisor.config.find_root import layout_of
from supervisor.config.load import settings_of
from supervisor.config.suggest import unknown_name
from supervisor.core.policy.retention import Removal, RetentionLimits, RetentionPlan, decide
from supervisor.errors import CANNOT_WRITE, UsageError
from supervisor.report.text.output import print_error, print_json, print_line, size, table
from supervisor.store.root_listing import tasks
from supervisor.store.run_removal import delete_removed, removal_candidates, remove_runs
from workers.records.clock import utc_text
from workers.records.layout import Layout
from workers.records.typed_errors import TypedError

_BYTES: Final = re.compile(r"(\d{1,15})\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)


class ByteCount(click.ParamType[int]):
    """``500M``: a number of bytes, with K, M, G or T for the powers of 1024."""

    name = "bytes"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:  # noqa: ANN401 - click's
        """Read it."""
        found = _BYTES.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r} is no number of bytes like 500M or 2G", param, ctx)
        power: int = " KMGT".index(found[2].upper() or " ")
        return int(found[1]) << 10 * power


@dataclass(slots=True)
class Swept:
    """What becomes of everything."""

    going: list[tuple[str, Removal]] = field(default_factory=list)
    spared: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Of the runs that go."""
        return sum(item.run.size_bytes for _, item in self.going)


@click.command("gc", short_help="Remove finished runs by count, age and bytes.")
@click.option("--keep-runs", type=click.IntRange(min=0), metavar="N", help="Of each task.")
@click.option("--keep-days", type=click.FloatRange(min=0), metavar="D", help="Since they ended.")
@click.option("--keep-bytes", type=ByteCount(), metavar="B", help="Of each task; 500M, 2G.")
@click.option("--task", "only", multiple=True, metavar="ID", help="Only of this task; repeatable.")
@click.option("--yes", is_flag=True, help="Remove them. Without it, only list them.")
@root_options
@json_option
def command(
    keep_runs: int | None,
    keep_days: float | None,
    keep_bytes: int | None,
    only: tuple[str, ...],
    yes: bool,
    root: str | None,
    config: str | None,
    as_json: bool,
) -> int:
    """List the finished runs that exceed what is kept, and with --yes remove their directories.

    What is kept: so many runs of a task, those of so many days, so many bytes; each limit speaks
    for itself, and the settings keep_runs, keep_days and keep_bytes are the defaults. Runs below a
    run count and go with it. History and state stay. A run that is not finished, or that a kept
    run names, is never removed. Safe beside a supervisor at work.

    Example: supervisor gc --keep-runs 100 --keep-days 30 --yes
    """
    layout = layout_of(root, config, writes=yes)
    limits = _limits(layout, config, keep_runs, keep_days, keep_bytes)
    known = tasks(layout)
    for task_id in only:
        if task_id not in known:
            raise UsageError(reason=unknown_name("task", task_id, known))
    if yes:
        delete_removed(layout)
    found = Swept()
    for task_id in only or known:
        try:
            _one(layout, task_id, limits, found, yes=yes)
        except (OSError, TypedError) as error:
            print_error(f"task {task_id} is left as it is: {error}")
            found.refused[task_id] = str(error)
    if as_json:
        print_json("gc", _facts(found, removed=yes))
    else:
        _print(found, removed=yes)
    return CANNOT_WRITE if found.refused else 0


def _limits(
    layout: Layout,
    config: str | None,
    keep_runs: int | None,
    keep_days: float | None,
    keep_bytes: int | None,
) -> RetentionLimits:
    settings = settings_of(
        layout, config, keep_runs=keep_runs, keep_days=keep_days, keep_bytes=keep_bytes
    )
    limits = RetentionLimits(
        keep_runs=settings.keep_runs, keep_days=settings.keep_days, keep_bytes=settings.keep_bytes
    )
    if not limits.any():
        raise UsageError(
            reason="nothing says how much is to be kept: give --keep-runs, --keep-days or "
            "--keep-bytes, or set keep_runs, keep_days or keep_bytes"
        )
    return limits


def _one(layout: Layout, task_id: str, limits: RetentionLimits, found: Swept, *, yes: bool) -> None:
    decision: RetentionPlan = decide(
        removal_candidates(layout, task_id), limits, now_epoch_s=time.time()
    )
    found.spared.update(decision.kept)
    refused = {}
    if yes and decision.removals:
        refused = remove_runs(layout, task_id, [item.run.run_id for item in decision.removals])
    found.refused.update(refused)
    found.going += [(task_id, g) for g in decision.removals if g.run.run_id not in refused]


def _facts(found: Swept, *, removed: bool) -> dict[str, Any]:
    runs = [
        {
            "run_id": item.run.run_id,
            "task_id": task_id,
            "ended_at": _ended(item),
            "size_bytes": item.run.size_bytes,
            "why": item.reason,
        }
        for task_id, item in found.going
    ]
    return {
        "removed": removed,
        "runs": runs,
        "size_bytes": found.size_bytes,
        "spared": found.spared,
        "refused": found.refused,
    }


def _ended(item: Removal) -> str | None:
    return None if item.run.ended_epoch_s is None else utc_text(item.run.ended_epoch_s)


def _print(found: Swept, *, removed: bool) -> None:
    if found.going:
        head = ("RUN", "TASK", "SIZE", "WHY")
        rows = [(i.run.run_id, task, size(i.run.size_bytes), i.reason) for task, i in found.going]
        print_line(table(head, rows))
    count = len(found.going)
    runs = "1 run" if count == 1 else f"{count} runs"
    if removed:
        print_line(f"removed {runs}, {size(found.size_bytes)}")
    else:
        mend = "; --yes removes them" if count else ""
        print_line(f"{runs}, {size(found.size_bytes)} would go; nothing was removed{mend}")
    for run_id, why in found.spared.items():
        print_error(f"{run_id} stays: {why}")
    for name, why in found.refused.items():
        print_error(f"{name} could not be removed: {why}")
