"""A timeline as inline SVG: one row for each stage or run, a rectangle for each stretch of it."""

from collections.abc import Iterator, Sequence
from typing import Final

from supervisor.report.html.page import text
from supervisor.report.read.run_tree import RunNode
from supervisor.report.read.stage_tries import Span
from supervisor.report.text.output import cut, duration
from workers.records.dataclass import dataclass

_WIDTH, _LABEL, _ROW, _AXIS = 900, 230, 20, 24  # pixels at the page's full width
_LEAST_BAR: Final = 2.0
_LABEL_CHARS: Final = 34
_TICKS_COUNT: Final = 6
_DAY_S: Final = 86_400
_STEPS_S: Final = (
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    14400,
    43200,
    _DAY_S,
)


@dataclass(frozen=True, slots=True)
class TimelineBar:
    """A rectangle: when, its CSS class, and its tooltip."""

    span: Span
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """A row: its label, the depth of its indent, and its bars."""

    label: str
    depth: int
    bars: tuple[TimelineBar, ...]


def timeline_rows(run: RunNode, depth: int = 0) -> Iterator[TimelineRow]:
    """The rows of a run; below each stage those of its child run."""
    if run.queued.length_s > 0:
        bar = TimelineBar(run.queued, "queued", f"queued for {duration(run.queued.length_s)}")
        yield TimelineRow("queued", depth, (bar,))
    for stage in run.stages:
        bars = []
        if stage.slot_wait is not None:
            lasted = duration(stage.slot_wait.length_s)
            title = f"{stage.id}: waited {lasted} for slots"
            bars.append(TimelineBar(stage.slot_wait, "wait", title))
        for item in stage.tries:
            number = f", try {item.number}" if len(stage.tries) > 1 else ""
            title = f"{stage.id}{number}: {item.status}, {duration(item.span.length_s)}"
            bars.append(TimelineBar(item.span, item.status, title))
            if item.wait is not None:
                title = f"{stage.id}: waited {duration(item.wait.length_s)} for the next try"
                bars.append(TimelineBar(item.wait, "wait", title))
        yield TimelineRow(stage.id, depth, tuple(bars))
        if stage.run is not None:
            yield from timeline_rows(stage.run, depth + 1)


def svg(rows: Sequence[TimelineRow], total_s: float, *, begin: str = "") -> str:
    """Draw a timeline.

    Args:
        rows: the rows, from the top.
        total_s: the seconds that the width represents, from 0.
        begin: the label of 0 instead of "0s"; foreign text.
    """
    height = _AXIS + _ROW * len(rows)
    scale = (_WIDTH - _LABEL) / total_s if total_s > 0 else 0.0
    parts = [f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="timeline">']
    for at_s in _ticks(total_s):
        x = _LABEL + at_s * scale
        is_short = at_s < 60 and at_s == int(at_s)
        label = f"{at_s:.0f}s" if is_short else duration(at_s)
        if begin:
            label = f"+{label}" if at_s else begin
        parts.append(f'<line class="axis" x1="{x:.1f}" y1="16" x2="{x:.1f}" y2="{height}"/>')
        anchor = ' text-anchor="end"' if x > _WIDTH - _LABEL / 4 else ""
        parts.append(f'<text x="{x:.1f}" y="12"{anchor}>{text(label)}</text>')
    for number, row in enumerate(rows):
        y, indent = _AXIS + number * _ROW, min(row.depth, 8)
        label = cut(row.label, _LABEL_CHARS - 2 * indent)
        parts.append(f'<text x="{12 * indent}" y="{y + 14}">{text(label)}</text>')
        for bar in row.bars:
            wide = max(_LEAST_BAR, bar.span.length_s * scale)
            left = min(_LABEL + bar.span.begin_s * scale, _WIDTH - wide)
            kind = "running wait" if bar.kind == "wait" else bar.kind
            parts.append(
                f'<rect class="{text(kind)}" x="{left:.1f}" y="{y + 3}" width="{wide:.1f}" '
                f'height="{_ROW - 6}"><title>{text(bar.title)}</title></rect>'
            )
    return "\n".join([*parts, "</svg>"])


def _ticks(total_s: float) -> list[float]:
    """The labelled places of the axis: at most about _TICKS_COUNT, in seconds."""
    if total_s < 2:
        return [0.0, total_s] if total_s > 0 else [0.0]
    days = _DAY_S * (1 + int(total_s / _DAY_S / _TICKS_COUNT))
    step = next((s for s in _STEPS_S if total_s / s <= _TICKS_COUNT), days)
    return [float(at) for at in range(0, int(total_s - step / 3) + 1, step)]
