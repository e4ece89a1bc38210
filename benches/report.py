"""``python -m benches report FILE ...``: write the page and its pictures from JSON output.

Several files become one record; if a row or point is in more than one, the last counts. The record
is stored next to the page, so that a part can be measured again:
``python -m benches report docs/explanation/performance.json new.json``.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benches.peers import find
from benches.row import Missing, Point, Row, from_json
from benches.table import ROOT, for_page

DOCS = Path(ROOT) / "docs/explanation"
BEGIN, END = "<!-- benches: figures -->\n", "<!-- benches: end -->\n"
SCHEMA = "pipeline-supervisor/benches/2"


def record(machine: dict[str, str], found: Sequence[Row | Point]) -> dict[str, Any]:
    """The object that ``--json`` prints."""
    return {
        "schema": SCHEMA,
        "machines": [machine],
        "rows": [one.to_json() for one in found if isinstance(one, Row)],
        "points": [one.to_json() for one in found if isinstance(one, Point)],
    }


def merged(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Merge records; later rows win, in the order of the first record."""
    machines: list[dict[str, str]] = []
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    points: dict[tuple[str, str, int], dict[str, Any]] = {}
    for one in records:
        for machine in one["machines"]:
            machines += [] if machine in machines else [machine]
        rows |= {(row["name"], row["peer"]): row for row in one["rows"]}
        points |= {(p["picture"], p["side"], p["x"]): p for p in one["points"]}
    return {
        "schema": SCHEMA,
        "machines": machines,
        "rows": list(rows.values()),
        "points": list(points.values()),
    }


def figures(found: dict[str, Any]) -> str:
    """The text between the marks of the page."""
    facts = [
        f"Commit {m['commit']}, {m['date']}: {m['cores']} cores, Linux {m['kernel']}, "
        f"CPython {m['python']}.\n"
        for m in found["machines"]
    ]
    rows = [from_json(row) for row in found["rows"]]
    with_goal = [row for row in rows if row.goal is not None and not row.skipped]
    missed = sum(not row.is_met for row in with_goal)
    count = f"{len(with_goal) - missed} of {len(with_goal)} goals are met.\n"
    return f"{''.join(facts)}{count}\n{for_page(rows)}"


def page_with(page: str, text: str) -> str:
    """Replace the figures of a page."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}{text}{END}{tail}"


def write(names: Sequence[str]) -> None:
    """Write record, page and pictures; without matplotlib the pictures are not changed."""
    found = merged([json.loads(Path(name).read_text()) for name in names])
    kept = DOCS / "performance.json"
    kept.write_text(json.dumps(found, indent=1) + "\n")
    page = DOCS / "performance.md"
    page.write_text(page_with(page.read_text(), figures(found)))
    try:
        argv = [str(find("python")), "-m", "benches.pictures", str(kept), str(DOCS)]
    except Missing as error:
        print(f"no pictures: {error}", file=sys.stderr)
        return
    subprocess.run(argv, cwd=ROOT, check=True)
