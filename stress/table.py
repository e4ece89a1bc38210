"""The result as a table and one line, or as one JSON object."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from stress.invariants import Invariant
from stress.judge import Judgement
from stress.row import Row

SCHEMA: Final = "pipeline-supervisor/stress/1"
_HEAD: Final = ("guardrail", "value", "second way", "limit", "source", "", "found in")


def _figure(value: float | None) -> str:
    if value is None:
        return "not found"
    return f"{value:,.0f}" if value == int(value) else f"{value:.4f}"


def _limit(row: Row) -> str:
    if row.limit is None:
        return "-"
    return (
        f"{'<' if row.strict else '<='} {row.limit:,g}" if row.limit < 1 else f"<= {row.limit:,.0f}"
    )


def _word(row: Row) -> str:
    if not row.breached:
        return "ok"
    return "BREACH" if row.agree else "DISAGREE"


def lines_of(judgement: Judgement) -> list[str]:
    """The table, and below it the invariants with the problems of broken ones indented."""
    body = [
        (
            row.name,
            _figure(row.value),
            _figure(row.other),
            _limit(row),
            row.source,
            _word(row),
            " | ".join(row.ways),
        )
        for row in judgement.rows
    ]
    return [*align([_HEAD, *body], right=(1, 2, 3)), "", *invariant_lines(judgement.invariants)]


def invariant_lines(invariants: Iterable[Invariant]) -> list[str]:
    """Each invariant, and below a broken one its first ten problems."""
    lines = []
    for invariant in invariants:
        lines.append(f"{'BROKEN' if invariant.problems else 'ok':8}{invariant.name}")
        lines += [f"{'':10}{problem}" for problem in invariant.problems[:10]]
        if len(invariant.problems) > 10:
            lines.append(f"{'':10}and {len(invariant.problems) - 10} more")
    return lines


def align(rows: Sequence[Sequence[str]], right: Iterable[int]) -> list[str]:
    """Lines of aligned columns, two spaces apart; columns in ``right`` are right-aligned."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def verdict_line(judgement: Judgement, about: str) -> str:
    """The last line: the scenario, and whether anything is breached."""
    if not judgement.breaches:
        return f"stress: {about}: nothing is breached"
    return f"stress: {about}: {len(judgement.breaches)} BREACHED: {'; '.join(judgement.breaches)}"


def to_json(judgement: Judgement) -> dict[str, Any]:
    """The judgement's part of the object that ``--json`` prints."""
    return {
        "guardrails": [
            {
                "name": row.name,
                "value": row.value,
                "other_value": row.other,
                "ways": list(row.ways),
                "limit": row.limit,
                "strict": row.strict,
                "source": row.source,
                "agree": row.agree,
                "breached": row.breached,
            }
            for row in judgement.rows
        ],
        "invariants": [
            {"name": i.name, "holds": not i.problems, "problems": list(i.problems)}
            for i in judgement.invariants
        ],
        "breaches": list(judgement.breaches),
    }
