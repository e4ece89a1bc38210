"""``supervisor status``: the active runs and the newest finished ones, or the tree of a run."""

import sys
from collections.abc import Iterable
from typing import Any

import click

from supervisor.commands.options import json_option, layout_of, root_options
from supervisor.core.holds import Holds
from supervisor.edge.lease import serving
from supervisor.errors import RunRemovedError
from supervisor.report.clean import clean_line
from supervisor.report.control import held_lines, holds_now, rejected
from supervisor.report.find import find_run
from supervisor.report.listing import Line, lines_of
from supervisor.report.records import (
    Row,
    active_rows,
    live_service,
    newest_rows,
    row_now,
    row_of_line,
)
from supervisor.report.terminal import coloured, columns
from supervisor.report.text import print_json, put, say
from workers.records.errors import TypedError
from workers.records.layout import Layout

NEWEST_COUNT = 20  # a screenful
FAILED_SHOWN = 3  # docs/reference/exit-codes.md


@click.command("status", short_help="Show the active and the newest runs.")
@click.argument("runs", metavar="[RUN]...", nargs=-1)
@click.option("--watch", is_flag=True, help="Show it again and again; RUNs until they have ended.")
@root_options
@json_option
def command(
    runs: tuple[str, ...], watch: bool, root: str | None, config: str | None, as_json: bool
) -> int:
    """Show the active runs and the newest 20; or each RUN named as a tree of its stages.

    RUN is a run id, a unique prefix of one, its last 8 digits, or "latest". A tree has the runs of
    sub-pipelines in it, and the last lines of what failed. A run that a later version of this
    program wrote is `unknown_schema`. Exits with 3 where a shown run failed, 4 where a RUN is
    unknown. With --watch a terminal is redrawn in place; elsewhere, and with --json, each change
    is a line.

    Example: supervisor status latest
    """
    layout = layout_of(root, config)
    named, removed = _named(layout, runs)
    if watch:
        return _watch(layout, named, as_json=as_json)
    if runs and not as_json:
        return _trees(layout, named, removed)
    if runs:
        rows, unread = [*(row_now(layout, *run) for run in named), *removed], list[str]()
    else:
        rows, unread = shown_rows(layout)
    for error in unread:
        say(error)
    if as_json:
        print_json("status-report", _facts(layout, rows, named=bool(runs)))
    else:
        _print(layout, rows)
    return FAILED_SHOWN if any(row.status == "failed" for row in rows) else 0


def _named(layout: Layout, names: Iterable[str]) -> tuple[list[tuple[str, str]], list[Row]]:
    """The runs named: those that have records, and those that only the history knows."""
    named, removed = [], []
    for name in dict.fromkeys(names):
        try:
            named.append(find_run(layout, name))
        except RunRemovedError as error:
            removed.append(row_of_line(dict(error.facts["line"])))  # type: ignore[call-overload]
    return named, removed


def _facts(layout: Layout, rows: list[Row], *, named: bool) -> dict[str, Any]:
    """What ``--json`` prints: the supervisor that is up, and the runs."""
    holder = serving(layout)
    service = live_service(layout) if holder is not None else {}
    return {
        "root": layout.root,
        "supervisor": None if holder is None else holder.to_json(),
        "watch": service.get("watch"),
        "durability": service.get("durability"),
        "paused": _holds(layout).to_json(),
        "groups": service.get("groups"),
        "rejected": rejected(layout),
        "runs": [_with_stages(layout, row) if named else row.to_json() for row in rows],
    }


def shown_rows(layout: Layout) -> tuple[list[Row], list[str]]:
    """The newest finished runs and the active ones, oldest first; and what cannot be read."""
    active = active_rows(layout)
    known = {row.run_id for row in active}
    newest, unread = newest_rows(layout, NEWEST_COUNT)
    return [*(row for row in newest if row.run_id not in known), *active], unread


def _holds(layout: Layout) -> Holds:
    """What is paused; where that cannot be read, it is said, and nothing is known to be."""
    try:
        return holds_now(layout)
    except (OSError, TypedError) as error:
        say(f"what is paused cannot be read: {error}")
        return Holds()


def _headlines(layout: Layout) -> list[str]:
    """Who serves the root, and what is held back there."""
    holder = serving(layout)
    served = "no supervisor is up" if holder is None else f"supervisor pid {holder.pid}"
    service = live_service(layout) if holder is not None else {}
    held = held_lines(_holds(layout), service, rejected(layout))
    return [clean_line(line) for line in (f"{layout.root}: {served}", *held)]


def _print(layout: Layout, rows: list[Row]) -> None:
    for line in _headlines(layout):
        put(line)
    if rows:
        _put(lines_of(rows, columns(sys.stdout)))
    else:
        put("no runs yet; 'supervisor run -- COMMAND' makes one")


def _put(lines: Iterable[Line]) -> None:
    limit, colours = columns(sys.stdout), coloured(sys.stdout)
    for line in lines:
        put((line if limit is None else line.cut_to(limit)).painted(on=colours))


def _trees(layout: Layout, named: list[tuple[str, str]], removed: list[Row]) -> int:
    from supervisor.report.branches import Branches
    from supervisor.report.tree import read_tree

    failed = False
    for number, run in enumerate(named):
        tree = read_tree(layout, *run)
        failed = failed or tree.status == "failed"
        if number:
            put("")
        _put(Branches(layout).lines(tree))
    if removed:
        put("")
        _put(lines_of(removed, columns(sys.stdout)))
    return FAILED_SHOWN if failed or any(row.status == "failed" for row in removed) else 0


def _watch(layout: Layout, named: list[tuple[str, str]], *, as_json: bool) -> int:
    from supervisor.commands.watching import Look, watch
    from supervisor.report.branches import Branches
    from supervisor.report.tree import read_tree

    def look() -> Look:
        head = tuple(Line(line) for line in _headlines(layout))
        if not named:
            rows, unread = shown_rows(layout)
            return Look(head, tuple(rows), troubles=tuple(map(clean_line, unread)))
        trees = [read_tree(layout, *run) for run in named]
        lines = (line for tree in trees for line in Branches(layout).lines(tree))
        return Look(head, tuple(row_now(layout, *run) for run in named), tuple(lines))

    def report(seen: Look) -> None:
        print_json("status-report", _facts(layout, list(seen.rows), named=bool(named)))

    rows = watch(look, report if as_json else None, follows=bool(named))
    return FAILED_SHOWN if any(row.status == "failed" for row in rows) else 0


def _with_stages(layout: Layout, row: Row) -> dict[str, Any]:
    from supervisor.report.branches import to_json
    from supervisor.report.tree import read_tree

    try:
        stages = to_json(layout, read_tree(layout, row.task_id, row.run_id))
    except FileNotFoundError:  # only the history knows it
        stages = []
    return {**row.to_json(), "stages": stages}
