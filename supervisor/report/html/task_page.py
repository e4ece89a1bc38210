"""The HTML page of a task: its newest runs on one time axis, verdicts, failures, guardrails."""

from collections.abc import Iterator, Sequence
from typing import Any

from supervisor.report.html import page as html
from supervisor.report.html import timeline
from supervisor.report.read.run_records import error_tail
from supervisor.report.read.run_rows import Row
from supervisor.report.read.run_tree import read_tree
from supervisor.report.read.stage_tries import Span
from supervisor.report.terminal.run_table import status_counts
from supervisor.report.text.output import duration
from workers.records.clock import epoch_of
from workers.records.files import read_object
from workers.records.layout import Layout
from workers.records.typed_errors import TypedError


def page(layout: Layout, task_id: str, rows: Sequence[Row]) -> str:
    """The page of a task and some of its runs, oldest first; deterministic once they finished."""
    title = f"task {task_id}"
    counts = status_counts(rows)
    head = f"<h1>{html.text(title)}</h1><p>the newest {len(rows)} runs: {counts}</p>"
    return html.document(title, [head, *_parts(layout, task_id, rows)])


def _parts(layout: Layout, task_id: str, rows: Sequence[Row]) -> Iterator[str]:
    yield from _timeline(rows)
    yield "<h2>Runs</h2>"
    yield html.table(
        ("run", "pipeline", "verdict", "time", "started", "note"),
        [
            (
                html.text(row.run_id),
                html.text(row.pipeline_id),
                html.status(row.status),
                html.text(duration(row.duration_s)),
                html.text(row.started_at or "-"),
                html.text(row.remark),
            )
            for row in reversed(rows)
        ],
    )
    failed = [row for row in reversed(rows) if row.status == "failed"]
    if failed:
        yield "<h2>Failures</h2>"
    for row in failed:
        yield from _failure(layout, row)
    yield from _guardrails(layout, task_id)


def _timeline(rows: Sequence[Row]) -> Iterator[str]:
    """The runs by wall clock, the only clock that runs of different boots share."""
    begun: list[tuple[Row, float]] = []
    for row in rows:
        try:
            begun.append((row, epoch_of(row.started_at or "")))
        except ValueError:
            continue
    if not begun:
        return
    first, begin_s = min(begun, key=lambda pair: pair[1])
    total_s = max(at_s + (row.duration_s or 0.0) for row, at_s in begun) - begin_s
    lines = []
    for row, at_s in begun:
        span = Span(at_s - begin_s, at_s - begin_s + (row.duration_s or 0.0))
        title = f"{row.run_id}: {row.status}, {duration(row.duration_s)}"
        bar = timeline.TimelineBar(span, row.status, title)
        lines.append(timeline.TimelineRow(f"{row.run_id[-8:]} {row.pipeline_id}", 0, (bar,)))
    yield "<h2>Timeline</h2>"
    yield timeline.svg(lines, total_s, begin=first.started_at or "")


def _failure(layout: Layout, row: Row) -> Iterator[str]:
    """A failed run: its reason, and the last lines of its failed stages."""
    yield f"<h3>{html.text(row.run_id)} {html.text(row.note or '')}</h3>"
    try:
        tree = read_tree(layout, row.task_id, row.run_id)
    except FileNotFoundError:
        yield '<p class="soft">its directory was removed</p>'
        return
    except (OSError, TypedError) as error:
        yield f'<p class="soft">{html.text(error)}</p>'
        return
    if tree.reason:
        yield f"<p>{html.text(tree.reason)}</p>"
    for run in tree.runs():
        for stage in run.stages:
            if stage.status == "failed" and stage.run is None and stage.failed:
                directory = layout.run_dir(run.task_id, run.run_id)
                lines = error_tail(directory, stage.index, stage.id).lines
                text = "\n".join(f"{stream} | {html.output(line)}" for stream, line in lines)
                if text:
                    yield f"<pre>{text}</pre>"


def _guardrails(layout: Layout, task_id: str) -> Iterator[str]:
    try:
        guardrails = read_object(layout.metrics(task_id)).get("guardrails")
    except (OSError, TypedError):
        return
    rows = [r for r in guardrails if isinstance(r, dict)] if isinstance(guardrails, list) else []
    if rows:
        yield "<h2>Guardrails</h2>"
        yield html.table(("guardrail", "value", "limit", "source", ""), map(_guardrail, rows))


def _guardrail(row: dict[str, Any]) -> tuple[str, ...]:
    limit = row.get("limit")
    breached = '<b class="s breached">breached</b>' if row.get("breached") else "ok"
    return (
        html.text(row.get("name")),
        html.text(row.get("value")),
        html.text("-" if limit is None else limit),
        html.text(row.get("source")),
        "no limit" if limit is None else breached,
    )
