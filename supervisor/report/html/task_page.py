"""The page of a task: its newest runs side by side in time, their verdicts, and the guardrails."""

from collections.abc import Iterator, Sequence
from typing import Any

from supervisor.report.html import page as html
from supervisor.report.html import timeline
from supervisor.report.read.run_records import active_rows
from supervisor.report.read.run_rows import Row, newest_task_rows
from supervisor.report.read.run_tree import RunNode, read_tree
from supervisor.report.read.spans import Span
from supervisor.report.terminal.run_table import status_counts
from supervisor.report.terminal.run_tree_text import stage_error_tail
from supervisor.report.text.output import duration
from workers.records.clock import epoch_of
from workers.records.files import read_object
from workers.records.layout import Layout
from workers.records.typed_errors import TypedError


def newest_runs(layout: Layout, task_id: str, count: int) -> list[Row]:
    """The newest runs of a task, its active ones included, oldest first."""
    active = [row for row in active_rows(layout) if row.task_id == task_id]
    known = {row.run_id for row in active}
    finished = [row for row in newest_task_rows(layout, task_id, count) if row.run_id not in known]
    return [*finished, *active][-count:]


def page(layout: Layout, task_id: str, rows: Sequence[Row]) -> str:
    """The page; the same for the same records, once its runs have ended.

    Args:
        layout: the root.
        task_id: the task.
        rows: its runs, oldest first.
    """
    title = f"task {task_id}"
    head = f"<h1>{html.text(title)}</h1><p>the newest {len(rows)} runs: {status_counts(rows)}</p>"
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
    yield from _failures(layout, rows)
    yield from _guardrails(layout, task_id)


def _timeline(rows: Sequence[Row]) -> Iterator[str]:
    """Each run on the wall clock: it alone is common to runs of different boots."""
    placed: list[tuple[Row, float]] = []
    for row in rows:
        try:
            placed.append((row, epoch_of(row.started_at or "")))
        except ValueError:
            continue
    if not placed:
        return
    begin_s = min(at for _, at in placed)
    total_s = max(at + (row.duration_s or 0.0) for row, at in placed) - begin_s
    tracks = [
        timeline.TimelineRow(f"{row.run_id[-8:]} {row.pipeline_id}", 0, (_bar(row, at - begin_s),))
        for row, at in placed
    ]
    yield "<h2>Timeline</h2>"
    first = min(placed, key=lambda pair: pair[1])[0].started_at
    yield timeline.svg(tracks, total_s, begin=first or "")


def _bar(row: Row, at: float) -> timeline.TimelineBar:
    span = Span(at, at + (row.duration_s or 0.0))
    return timeline.TimelineBar(
        span, row.status, f"{row.run_id}: {row.status}, {duration(row.duration_s)}"
    )


def _failures(layout: Layout, rows: Sequence[Row]) -> Iterator[str]:
    failed = [row for row in reversed(rows) if row.status == "failed"]
    if failed:
        yield "<h2>Failures</h2>"
    for row in failed:
        yield f"<h3>{html.text(row.run_id)} {html.text(row.note or '')}</h3>"
        try:
            tree = read_tree(layout, row.task_id, row.run_id)
        except FileNotFoundError:
            yield '<p class="soft">its directory was removed</p>'
            continue
        except (OSError, TypedError) as error:
            yield f'<p class="soft">{html.text(error)}</p>'
            continue
        if tree.reason:
            yield f"<p>{html.text(tree.reason)}</p>"
        for node in tree.runs():
            yield from _tails(layout, node)


def _tails(layout: Layout, run: RunNode) -> Iterator[str]:
    for stage in run.stages:
        if stage.status != "failed" or stage.run is not None or not stage.failed:
            continue
        lines = stage_error_tail(layout, run, stage).lines
        if lines:
            shown = "\n".join(f"{stream} | {html.output(line)}" for stream, line in lines)
            yield f"<pre>{shown}</pre>"


def _guardrails(layout: Layout, task_id: str) -> Iterator[str]:
    try:
        found = read_object(layout.metrics(task_id)).get("guardrails")
    except (OSError, TypedError):
        return
    rows = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
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
        "shown only" if limit is None else breached,
    )
