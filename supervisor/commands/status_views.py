"""``status`` for people, of RUNs, and with ``--watch``: what ``status --json`` does not import."""

import contextlib
import sys
from collections.abc import Iterable
from typing import Any

from supervisor.core.pauses import pauses_of_status
from supervisor.errors import RunRemovedError
from supervisor.report.read.find_run import find_run
from supervisor.report.read.hook_outcomes import hook_outcomes
from supervisor.report.read.queue_state import queue_lines
from supervisor.report.read.run_rows import (
    NEWEST_COUNT,
    Row,
    history_row,
    live_row,
    pauses_json,
    recent_rows,
    service_status,
    status_by_run,
    status_json,
)
from supervisor.report.read.run_tree import read_tree
from supervisor.report.terminal.run_table import Line, table_lines
from supervisor.report.terminal.run_tree_text import run_tree_lines, stages_json
from supervisor.report.text.output import (
    print_error,
    print_json,
    print_raw,
    terminal_columns,
    wants_colours,
)
from supervisor.report.text.sanitize import clean_line
from supervisor.store.lease_reader import serving_supervisor
from supervisor.store.root_listing import rejected
from workers.records.layout import Layout
from workers.records.proc import proc_stat


def show(layout: Layout, names: tuple[str, ...], *, as_json: bool) -> list[str]:
    """Show the root, or the named runs; returns their statuses."""
    if not names:
        rows, unread = recent_rows(layout)
        for error in unread:
            print_error(error)
        _print(layout, rows)
        return [row.status for row in rows]
    named, removed = _named(layout, names)
    if not as_json:
        return [*_trees(layout, named), *_removed(removed)]
    view = status_by_run(layout)
    rows = [*(live_row(layout, *run, view) for run in named), *removed]
    print_json("status-report", status_json(layout, [_with_stages(layout, row) for row in rows]))
    return [row.status for row in rows]


def show_repeatedly(layout: Layout, names: tuple[str, ...], *, as_json: bool) -> list[str]:
    """Show the same until the named runs have ended; returns the last statuses."""
    from supervisor.commands.status_watch import StatusSnapshot, watch

    named, removed = _named(layout, names)
    if names and not named:  # they do not change any more
        return show(layout, names, as_json=as_json)

    def read() -> StatusSnapshot:
        head = tuple(Line(line) for line in _headlines(layout))
        if not named:
            rows, unread = recent_rows(layout)
            return StatusSnapshot(head, tuple(rows), errors=tuple(map(clean_line, unread)))
        trees = [read_tree(layout, *run) for run in named]
        lines = (line for tree in trees for line in run_tree_lines(layout, tree))
        view = status_by_run(layout)
        rows = [*removed, *(live_row(layout, *run, view) for run in named)]
        return StatusSnapshot(head, tuple(rows), tuple(lines))

    def report(snapshot: StatusSnapshot) -> None:
        runs = [_with_stages(layout, row) if named else row.to_json() for row in snapshot.rows]
        print_json("status-report", status_json(layout, runs))

    return [row.status for row in watch(read, report if as_json else None, follows=bool(named))]


def _named(layout: Layout, names: Iterable[str]) -> tuple[list[tuple[str, str]], list[Row]]:
    """The named runs: those with records, and those that only the history has."""
    named, removed = [], []
    for name in dict.fromkeys(names):
        try:
            named.append(find_run(layout, name))
        except RunRemovedError as error:
            removed.append(history_row(error.line))
    return named, removed


def _headlines(layout: Layout) -> list[str]:
    """The supervisor of the root, pauses and groups."""
    holder = serving_supervisor(layout)
    service = service_status(layout) if holder is not None else {}
    served = "no supervisor is up" if holder is None else _served(holder.pid, service)
    queue = queue_lines(pauses_of_status(pauses_json(layout)), service, rejected(layout))
    return [clean_line(line) for line in (f"{layout.root}: {served}", *queue)]


def _served(pid: int, service: dict[str, Any]) -> str:
    process = proc_stat(pid)
    if process is not None and process.is_stopped:
        return f"supervisor pid {pid}, stopped; 'kill -CONT {pid}' continues it"
    mode = service.get("mode")
    return f"supervisor pid {pid}" + (f", {mode}" if mode in ("draining", "stopping") else "")


def _print(layout: Layout, rows: list[Row]) -> None:
    for line in _headlines(layout):
        print_raw(line)
    if not rows:
        print_raw("no runs yet; 'supervisor run -- COMMAND' starts one")
        return
    limit = terminal_columns(sys.stdout)
    queued = [row.run_id for row in rows if row.status == "queued"]
    left_out = set() if limit is None else set(queued[NEWEST_COUNT:])
    _put(table_lines([row for row in rows if row.run_id not in left_out], limit))
    if left_out:  # on a terminal, many queued runs would hide everything else
        print_raw(f"... and more: {len(left_out)} queued")


def _put(lines: Iterable[Line]) -> None:
    limit, colours = terminal_columns(sys.stdout), wants_colours(sys.stdout)
    for line in lines:
        print_raw((line if limit is None else line.cut_to(limit)).painted(on=colours))


def _trees(layout: Layout, named: list[tuple[str, str]]) -> list[str]:
    statuses: list[str] = []
    for run in named:
        tree = read_tree(layout, *run)
        if statuses:
            print_raw("")
        _put(run_tree_lines(layout, tree))
        statuses.append(tree.status)
    return statuses


def _removed(removed: list[Row]) -> list[str]:
    if removed:
        print_raw("")
        _put(table_lines(removed, terminal_columns(sys.stdout)))
    return [row.status for row in removed]


def _with_stages(layout: Layout, row: Row) -> dict[str, Any]:
    reason, stages = None, []
    with contextlib.suppress(FileNotFoundError):  # only the history has it
        tree = read_tree(layout, row.task_id, row.run_id)
        reason, stages = tree.reason, stages_json(layout, tree)
    hooks = [hook.to_json() for hook in hook_outcomes(layout.run_dir(row.task_id, row.run_id))]
    return {**row.to_json(), "reason": reason, "stages": stages, "hooks": hooks}
