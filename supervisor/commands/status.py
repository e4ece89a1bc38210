"""``supervisor status``: the active runs and the newest finished ones, or the tree of a run."""

import sys
from typing import Any

import click

from supervisor.commands.options import json_option, layout_of, root_options
from supervisor.edge.lease import serving
from supervisor.report.clean import clean_line
from supervisor.report.find import find_run
from supervisor.report.records import Row, active_rows, live_service, newest_rows, row_now
from supervisor.report.terminal import coloured, columns
from supervisor.report.text import duration, print_json, put, say, table, tell
from workers.records.layout import Layout

NEWEST_COUNT = 20  # a screenful
FAILED_SHOWN = 3  # docs/reference/exit-codes.md
HEAD = ("RUN", "TASK", "PIPELINE", "STATUS", "TIME", "NOTE")
_STATUS = HEAD.index("STATUS")


@click.command("status", short_help="Show the active and the newest runs.")
@click.argument("runs", metavar="[RUN]...", nargs=-1)
@root_options
@json_option
def command(runs: tuple[str, ...], root: str | None, config: str | None, as_json: bool) -> int:
    """Show the active runs and the newest 20; or each RUN named as a tree of its stages.

    RUN is a run id, a unique prefix of one, its last 8 digits, or "latest". A tree has the runs of
    sub-pipelines in it, and the last lines of what failed. A run that a later version of this
    program wrote is `unknown_schema`. Exits with 3 where a shown run failed, 4 where a RUN is
    unknown.

    Example: supervisor status latest
    """
    layout = layout_of(root, config)
    named = [find_run(layout, name) for name in dict.fromkeys(runs)]
    if named and not as_json:
        return _trees(layout, named)
    rows = [row_now(layout, *run) for run in named] if named else shown_rows(layout)
    holder = serving(layout)
    if as_json:
        service = live_service(layout) if holder is not None else {}
        facts = {
            "root": layout.root,
            "supervisor": None if holder is None else holder.to_json(),
            "watch": service.get("watch"),
            "durability": service.get("durability"),
            "runs": [_with_stages(layout, row) if named else row.to_json() for row in rows],
        }
        print_json("status-report", facts)
    else:
        _print(layout.root, rows, None if holder is None else holder.pid)
    return FAILED_SHOWN if any(row.status == "failed" for row in rows) else 0


def shown_rows(layout: Layout) -> list[Row]:
    """The newest finished runs and the active ones, oldest first; what cannot be read is said."""
    active = active_rows(layout)
    known = {row.run_id for row in active}
    newest, unread = newest_rows(layout, NEWEST_COUNT)
    for error in unread:
        say(error)
    return [*(row for row in newest if row.run_id not in known), *active]


def _print(root: str, rows: list[Row], pid: int | None) -> None:
    served = "no supervisor is up" if pid is None else f"supervisor pid {pid}"
    tell(clean_line(f"{root}: {served}"))
    if not rows:
        tell("no runs yet; 'supervisor run -- COMMAND' makes one")
        return
    limit = columns(sys.stdout)
    text = _table(rows, short=False)
    if limit is not None and max(map(len, text.splitlines())) > limit:
        text = _table(rows, short=True, limit=limit)
    elif coloured(sys.stdout):
        text = _table(rows, short=False, limit=limit)
    put(text)


def _table(rows: list[Row], *, short: bool, limit: int | None = None) -> str:
    """The table; where the terminal is narrow, a run's last 8 digits stand for it."""
    return table(
        HEAD,
        [
            (
                row.run_id[-8:] if short else row.run_id,
                row.task_id,
                row.pipeline_id,
                row.status,
                duration(row.duration_s),
                row.remark,
            )
            for row in rows
        ],
        limit=limit,
        firm=(HEAD.index("RUN"), _STATUS, HEAD.index("TIME")),
        painted=_STATUS if coloured(sys.stdout) else None,
    )


def _trees(layout: Layout, named: list[tuple[str, str]]) -> int:
    from supervisor.report.branches import Branches
    from supervisor.report.tree import read_tree

    branches = Branches(layout, limit=columns(sys.stdout), colours=coloured(sys.stdout))
    failed = False
    for number, run in enumerate(named):
        tree = read_tree(layout, *run)
        failed = failed or tree.status == "failed"
        if number:
            put("")
        for line in branches.lines(tree):
            put(line)
    return FAILED_SHOWN if failed else 0


def _with_stages(layout: Layout, row: Row) -> dict[str, Any]:
    from supervisor.report.branches import to_json
    from supervisor.report.tree import read_tree

    stages = to_json(layout, read_tree(layout, row.task_id, row.run_id))
    return {**row.to_json(), "stages": stages}
