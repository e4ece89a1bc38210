"""``supervisor wait RUN...``: block until runs have ended."""

import os
import time
from typing import Any

import click

from supervisor.commands.options import json_option, root_options
from supervisor.commands.run_waiter import RunRef, ended, outcome, wait_for
from supervisor.config.find_root import layout_of
from supervisor.core.policy.exit_codes import worst_exit_code
from supervisor.errors import RunRemovedError
from supervisor.report.read.find_run import find_run
from supervisor.report.text.output import print_json, print_line
from workers.records.json_reader import JsonReader
from workers.records.layout import Layout

TIMED_OUT = 124  # docs/reference/exit-codes.md, as timeout(1)
GONE_S = 2.0  # so often it is looked whether a run's directory was taken away


@click.command("wait", short_help="Wait for runs to end.")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("--any", "first", is_flag=True, help="Wait for the first of them to end.")
@click.option("--timeout", type=click.FloatRange(min=0), help="Seconds; then exit with 124.")
@root_options
@json_option
def command(
    runs: tuple[str, ...],
    first: bool,
    timeout: float | None,
    root: str | None,
    config: str | None,
    as_json: bool,
) -> int:
    """Wait until every RUN has its verdict on record, and exit with the worst outcome.

    With --any until the first has, whose outcome it is then. Works while no supervisor is up, and
    says so; then a verdict counts as soon as the run's worker has written it. Exits with 0, 10
    (failed), 11 (cancelled), 12 (lost), or 124 if the time runs out.

    Example: supervisor wait latest --timeout 600
    """
    layout = layout_of(root, config, writes=False)
    over: dict[RunRef, dict[str, Any]] = {}
    awaited = list(dict.fromkeys(_awaited(layout, name, over) for name in runs))
    found = wait_for(
        layout,
        awaited,
        timeout_s=timeout,
        meanwhile=_Meanwhile(layout, awaited, over).look,
        over=over,
        find=ended,
        enough=1 if first else None,
    )
    shown = [run for run in awaited if run in found] if first else awaited
    if first:
        shown = sorted(shown, key=lambda run: str(found[run]["completed_at"]))[:1]
    for run in shown or awaited:
        _tell(run, found.get(run), as_json=as_json)
    if not shown or any(run not in found for run in shown):
        return TIMED_OUT
    return worst_exit_code(outcome(found[run]) for run in shown)


class _Meanwhile:
    """Finds runs whose directory is taken away while they are waited for."""

    def __init__(
        self, layout: Layout, awaited: list[RunRef], over: dict[RunRef, dict[str, Any]]
    ) -> None:
        self._layout = layout
        self._awaited = awaited
        self._over = over
        self._looks_at_mono_s = time.monotonic() + GONE_S

    def look(self) -> None:
        if time.monotonic() < self._looks_at_mono_s:
            return
        self._looks_at_mono_s = time.monotonic() + GONE_S
        for run in self._awaited:
            directory = self._layout.run_dir(run.task_id, run.run_id).path
            if not os.path.isdir(directory) and not os.path.lexists(
                self._layout.marker(run.run_id)  # while it is there the run will get its verdict
            ):
                _awaited(self._layout, run.run_id, self._over)


def _awaited(layout: Layout, name: str, over: dict[RunRef, dict[str, Any]]) -> RunRef:
    """Find a run; one that only the history knows is over, and is put there."""
    try:
        return RunRef(*find_run(layout, name))
    except RunRemovedError as error:
        line = JsonReader(error.facts, "history.ndjson").child("line")
        run = RunRef(line.text("taskId"), line.text("runId"))
        over[run] = {
            "status": line.text("status"),
            "status_detail": line.text_or_none("statusDetail"),
            "completed_at": line.text_or_none("timestamp"),
        }
        return run


def _tell(run: RunRef, manifest: dict[str, Any] | None, *, as_json: bool) -> None:
    status = manifest["status"] if manifest else "unfinished"
    detail = manifest["status_detail"] if manifest else None
    if as_json:
        facts = {"run_id": run.run_id, "task_id": run.task_id}
        print_json("wait", {**facts, "status": status, "status_detail": detail})
    else:
        print_line(f"{run.run_id}  {status}{f' ({detail})' if detail else ''}")
