"""``supervisor status``: the active runs and the newest finished ones."""

import os
import sys
from collections.abc import Iterable

import click

from supervisor.commands.options import json_option, layout_of, root_options
from supervisor.core.holds import Holds
from supervisor.edge.lease import serving
from supervisor.report.clean import clean_line
from supervisor.report.control import held_lines, holds_now, rejected
from supervisor.report.find import find_run
from supervisor.report.records import Row, active_rows, live_service, newest_rows, row_now
from supervisor.report.text import duration, print_json, say, table, tell
from workers.records.errors import TypedError

NEWEST_COUNT = 20  # a screenful
FAILED_SHOWN = 3  # docs/reference/exit-codes.md


@click.command("status", short_help="Show the active and the newest runs.")
@click.argument("runs", metavar="[RUN]...", nargs=-1)
@root_options
@json_option
def command(runs: tuple[str, ...], root: str | None, config: str | None, as_json: bool) -> int:
    """Show the active runs and the newest 20, or the RUNs named.

    RUN is a run id, a unique prefix of one, its last 8 digits, or "latest". A run that a later
    version of this program wrote is `unknown_schema`. Exits with 3 where a shown run failed, 4
    where a RUN is unknown.

    Example: supervisor status latest
    """
    layout = layout_of(root, config)
    if runs:
        rows = [row_now(layout, *find_run(layout, name)) for name in runs]
    else:
        active = active_rows(layout)
        known = {row.run_id for row in active}
        newest, unread = newest_rows(layout, NEWEST_COUNT)
        rows = [*(row for row in newest if row.run_id not in known), *active]
        for error in unread:
            say(error)
    holder = serving(layout)
    service = live_service(layout) if holder is not None else {}
    holds, aside = Holds(), rejected(layout)
    try:
        holds = holds_now(layout)
    except (OSError, TypedError) as error:
        say(f"what is paused cannot be read: {error}")
    if as_json:
        facts = {
            "root": layout.root,
            "supervisor": None if holder is None else holder.to_json(),
            "watch": service.get("watch"),
            "durability": service.get("durability"),
            "paused": holds.to_json(),
            "groups": service.get("groups"),
            "rejected": aside,
            "runs": [row.to_json() for row in rows],
        }
        print_json("status-report", facts)
    else:
        held = held_lines(holds, service, aside)
        _print(layout.root, rows, None if holder is None else holder.pid, held)
    return FAILED_SHOWN if any(row.status == "failed" for row in rows) else 0


def _print(root: str, rows: list[Row], pid: int | None, held: Iterable[str]) -> None:
    served = "no supervisor is up" if pid is None else f"supervisor pid {pid}"
    tell(clean_line(f"{root}: {served}"))
    for line in held:
        tell(clean_line(line))
    if not rows:
        tell("no runs yet; 'supervisor run -- COMMAND' makes one")
        return
    text = _table(rows, short=False)
    width = max(len(line) for line in text.splitlines())
    if sys.stdout.isatty() and width > _columns():
        text = _table(rows, short=True)
    tell(text)


def _columns() -> int:
    """How wide the terminal is; 80 where it does not say. shutil's costs eight modules."""
    told = os.environ.get("COLUMNS", "")
    return int(told) if told.isdecimal() else os.get_terminal_size(1).columns or 80


def _table(rows: list[Row], *, short: bool) -> str:
    """The table; where the terminal is narrow, a run's last 8 digits stand for it."""
    return table(
        ("RUN", "TASK", "PIPELINE", "STATUS", "TIME", "NOTE"),
        [
            (
                row.run_id[-8:] if short else row.run_id,
                row.task_id,
                row.pipeline_id,
                row.status,
                duration(row.duration_s),
                row.note or "",
            )
            for row in rows
        ],
    )
