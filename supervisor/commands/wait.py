"""``supervisor wait``."""

import os
import time
from typing import Any

import click

from supervisor.commands.options import RUN, json_option, root_options
from supervisor.commands.run_waiter import RunRef, ended_manifest, outcome, wait_for
from supervisor.config.find_root import layout_of
from supervisor.core.policy.exit_codes import worst_exit_code
from supervisor.errors import RunRemovedError
from supervisor.report.read.find_run import find_run
from supervisor.report.text.output import print_json, print_line
from workers.records.json_reader import JsonReader
from workers.records.layout import Layout

TIMED_OUT = 124  # docs/reference/exit-codes.md, as timeout(1)
REMOVED_CHECK_S = 2.0  # how often to check whether a run's directory was removed


@click.command("wait", epilog=RUN)
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("--any", "first", is_flag=True, help="Wait until the first of them has ended.")
@click.option(
    "--timeout", type=click.FloatRange(min=0), metavar="S", help="Seconds to wait, at most."
)
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
    """Wait until runs have ended.

    Waits until the verdict of every RUN is recorded and exits with the worst outcome; with --any,
    with that of the first. Works without a supervisor: a verdict then counts when the worker has
    written it.

    Exit status: 0, 4 (unknown RUN), 10 (failed), 11 (cancelled), 12 (lost), 124 (timeout).

    Example: supervisor wait latest --timeout 600
    """
    layout = layout_of(root, config, writes=False)
    removed: dict[RunRef, dict[str, Any]] = {}
    awaited = list(dict.fromkeys(_run_ref(layout, name, removed) for name in runs))
    due_mono_s = time.monotonic() + REMOVED_CHECK_S

    def find_removed() -> None:
        nonlocal due_mono_s
        if time.monotonic() < due_mono_s:
            return
        due_mono_s = time.monotonic() + REMOVED_CHECK_S
        for run in awaited:
            directory = layout.run_dir(run.task_id, run.run_id).path
            # A run with a marker gets its verdict.
            if not os.path.isdir(directory) and not os.path.lexists(layout.marker(run.run_id)):
                _run_ref(layout, run.run_id, removed)

    ended = wait_for(
        layout,
        awaited,
        timeout_s=timeout,
        meanwhile=find_removed,
        removed=removed,
        find=ended_manifest,
        enough=1 if first else None,
    )
    shown = [run for run in awaited if run in ended] if first else awaited
    if first:
        shown = sorted(shown, key=lambda run: str(ended[run]["completed_at"]))[:1]
    for run in shown or awaited:
        _print(run, ended.get(run), as_json=as_json)
    if not shown or any(run not in ended for run in shown):
        return TIMED_OUT
    return worst_exit_code(outcome(ended[run]) for run in shown)


def _run_ref(layout: Layout, name: str, removed: dict[RunRef, dict[str, Any]]) -> RunRef:
    """Find a run. If only the history has it, add its end to ``removed``."""
    try:
        return RunRef(*find_run(layout, name))
    except RunRemovedError as error:
        line = JsonReader(error.facts, "history.ndjson").child("line")
        run = RunRef(line.text("taskId"), line.text("runId"))
        removed[run] = {
            "status": line.text("status"),
            "status_detail": line.text_or_none("statusDetail"),
            "completed_at": line.text_or_none("timestamp"),
        }
        return run


def _print(run: RunRef, manifest: dict[str, Any] | None, *, as_json: bool) -> None:
    status = manifest["status"] if manifest else "unfinished"
    detail = manifest["status_detail"] if manifest else None
    if as_json:
        facts = {"run_id": run.run_id, "task_id": run.task_id}
        print_json("wait", {**facts, "status": status, "status_detail": detail})
    else:
        print_line(f"{run.run_id}  {status}{f' ({detail})' if detail else ''}")
