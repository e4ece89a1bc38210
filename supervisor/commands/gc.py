"""``supervisor gc``."""

import re
import time
from dataclasses import dataclass, field
from typing import Any, Final

import click

from supervisor.commands.options import json_option, root_options
from supervisor.config.find_root import layout_of
from supervisor.config.load import settings_of
from supervisor.config.settings import Settings
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
    """A number of bytes like ``500M``; K, M, G and T are powers of 1024."""

    name = "bytes"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:  # noqa: ANN401 - click's
        """Parse it."""
        match = _BYTES.fullmatch(str(value))
        if match is None:
            self.fail(f"{value!r} is not a number of bytes like 500M or 2G", param, ctx)
        power: int = " KMGT".index(match[2].upper() or " ")
        return int(match[1]) << 10 * power


@dataclass(slots=True)
class _Result:
    """The result for all tasks.

    Attributes:
        removals: runs to remove, or removed, each with its task.
        spared: runs that are not removed, and why.
        refused: runs and tasks that could not be removed, and why.
    """

    removals: list[tuple[str, Removal]] = field(default_factory=list)
    spared: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        return sum(item.run.size_bytes for _, item in self.removals)


@click.command("gc")
@click.option("--keep-runs", type=click.IntRange(min=0), metavar="N", help="Runs to keep per task.")
@click.option("--keep-days", type=click.FloatRange(min=0), metavar="D", help="Days to keep a run.")
@click.option(
    "--keep-bytes", type=ByteCount(), metavar="B", help="Bytes to keep per task: 500M, 2G."
)
@click.option("--task", "only", multiple=True, metavar="ID", help="Only this task. Repeatable.")
@click.option("--yes", is_flag=True, help="Remove the runs; the default is to list them.")
@root_options
@json_option
def command(
    only: tuple[str, ...],
    yes: bool,
    root: str | None,
    config: str | None,
    as_json: bool,
    **keep: float | None,
) -> int:
    """Remove old runs.

    Lists the finished runs that exceed a limit; with --yes, removes their directories. Limits apply
    per task: number of runs, age in days, bytes on disk. A run that exceeds any limit is removed.
    Child runs count toward their parent and are removed with it. The default limits are the
    settings keep_runs, keep_days and keep_bytes.

    Keeps unfinished runs, runs that a remaining run refers to, history and state. Safe while a
    supervisor is running.

    Exit status: 0, 2 (no limit), 73 (a run could not be removed).

    Example: supervisor gc --keep-runs 100 --keep-days 30 --yes
    """
    layout = layout_of(root, config, writes=yes)
    limits = _limits(settings_of(layout, config, **keep))
    known = tasks(layout)
    for task_id in only:
        if task_id not in known:
            raise UsageError(reason=unknown_name("task", task_id, known))
    if yes:
        delete_removed(layout)
    result = _Result()
    for task_id in only or known:
        try:
            _collect(layout, task_id, limits, result, yes=yes)
        except (OSError, TypedError) as error:
            print_error(f"task {task_id}: cannot remove its runs, nothing was changed: {error}")
            result.refused[task_id] = str(error)
    if as_json:
        print_json("gc", _facts(result, removed=yes))
    else:
        _print(result, removed=yes)
    return CANNOT_WRITE if result.refused else 0


def _limits(settings: Settings) -> RetentionLimits:
    limits = RetentionLimits(
        keep_runs=settings.keep_runs, keep_days=settings.keep_days, keep_bytes=settings.keep_bytes
    )
    if not limits.any():
        raise UsageError(
            reason="no limit is set: give --keep-runs, --keep-days or --keep-bytes, or configure "
            "keep_runs, keep_days or keep_bytes"
        )
    return limits


def _collect(
    layout: Layout, task_id: str, limits: RetentionLimits, result: _Result, *, yes: bool
) -> None:
    plan: RetentionPlan = decide(
        removal_candidates(layout, task_id), limits, now_epoch_s=time.time()
    )
    result.spared.update(plan.kept)
    refused = {}
    if yes and plan.removals:
        refused = remove_runs(layout, task_id, [item.run.run_id for item in plan.removals])
    result.refused.update(refused)
    result.removals += [(task_id, item) for item in plan.removals if item.run.run_id not in refused]


def _facts(result: _Result, *, removed: bool) -> dict[str, Any]:
    runs = [
        {
            "run_id": item.run.run_id,
            "task_id": task_id,
            "ended_at": None if (end := item.run.ended_epoch_s) is None else utc_text(end),
            "size_bytes": item.run.size_bytes,
            "why": item.reason,
        }
        for task_id, item in result.removals
    ]
    return {
        "removed": removed,
        "runs": runs,
        "size_bytes": result.size_bytes,
        "spared": result.spared,
        "refused": result.refused,
    }


def _print(result: _Result, *, removed: bool) -> None:
    rows = [(r.run.run_id, task, size(r.run.size_bytes), r.reason) for task, r in result.removals]
    if rows:
        print_line(table(("RUN", "TASK", "SIZE", "REASON"), rows))
    total = f"{len(rows)} run{'' if len(rows) == 1 else 's'}, {size(result.size_bytes)}"
    if removed:
        print_line(f"removed {total}")
    else:
        print_line(f"would remove {total}" + ("; --yes removes them" if rows else ""))
    for run_id, reason in result.spared.items():
        print_error(f"{run_id} is not removed: {reason}")
    for name, reason in result.refused.items():
        print_error(f"{name} could not be removed: {reason}")
