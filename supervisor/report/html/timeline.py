"""A timeline as inline SVG: one row for each stage or run, a rectangle for each stretch of it."""

from collections.abc import Iterator, Sequence
from typing import Final

from supervisor.report.html.page import text
from supervisor.report.read.run_tree import RunNode
from supervisor.report.read.spans import Span
from supervisor.report.text.output import cut, duration
from workers.records.dataclass import dataclass

_WIDTH, _LABEL, _ROW, _AXIS = 900, 230, 20, 24  # pixels at the page's full width
_LEAST_BAR: Final = 2.0
_LABEL_CHARS: Final = 34
_TICKS_COUNT: Final = 6
_NICE_S: Final = (
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
    86400,
)


@dataclass(frozen=True, slots=True)
class TimelineBar:
    """One rectangle: when, how it is coloured, and what is said where a pointer rests on it."""

    span: Span
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """One row."""

    label: str
    depth: int
    bars: tuple[TimelineBar, ...]


def timeline_rows(run: RunNode, depth: int = 0) -> Iterator[TimelineRow]:
    """The rows of a run, and below each stage those of its sub-pipeline's run."""
    if run.queued.length_s > 0:
        bar = TimelineBar(run.queued, "queued", f"queued for {duration(run.queued.length_s)}")
        yield TimelineRow("queued", depth, (bar,))
    for stage in run.stages:
        bars = []
        if stage.slot_wait is not None:
            lasted = duration(stage.slot_wait.length_s)
            bars.append(TimelineBar(stage.slot_wait, "wait", f"{stage.id}: {lasted} for slots"))
        for tried in stage.tries:
            number = f", try {tried.number}" if len(stage.tries) > 1 else ""
            lasted = duration(tried.span.length_s)
            bars.append(
                TimelineBar(
                    tried.span, tried.status, f"{stage.id}{number}: {tried.status}, {lasted}"
                )
            )
            if tried.wait is not None:
                lasted = duration(tried.wait.length_s)
                bars.append(
                    TimelineBar(tried.wait, "wait", f"{stage.id}: {lasted} until the next try")
                )
        yield TimelineRow(stage.id, depth, tuple(bars))
        if stage.run is not None:
            yield from timeline_rows(stage.run, depth + 1)


def svg(tracks: Sequence[TimelineRow], total_s: float, *, begin: str = "") -> str:
    """Draw.

    Args:
        tracks: the rows, from the top.
        total_s: how much time the width stands for, from 0.
        begin: what to write at 0 instead of "0s"; foreign text.
    """
    height = _AXIS + _ROW * len(tracks)
    scale = (_WIDTH - _LABEL) / total_s if total_s > 0 else 0.0
    parts = [f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="timeline">']
    for at in _ticks(total_s):
        x = _LABEL + at * scale
        label = begin if begin and not at else f"{'+' if begin else ''}{_tick(at)}"
        parts.append(f'<line class="axis" x1="{x:.1f}" y1="16" x2="{x:.1f}" y2="{height}"/>')
        anchor = ' text-anchor="end"' if x > _WIDTH - _LABEL / 4 else ""
        parts.append(f'<text x="{x:.1f}" y="12"{anchor}>{text(label)}</text>')
    for number, track in enumerate(tracks):
        y = _AXIS + number * _ROW
        x = 12 * min(track.depth, 8)
        label = cut(track.label, _LABEL_CHARS - 2 * min(track.depth, 8))
        parts.append(f'<text x="{x}" y="{y + 14}">{text(label)}</text>')
        for bar in track.bars:
            left = _LABEL + bar.span.begin_s * scale
            wide = max(_LEAST_BAR, bar.span.length_s * scale)
            left = min(left, _WIDTH - wide)
            kind = "running wait" if bar.kind == "wait" else bar.kind
            parts.append(
                f'<rect class="{text(kind)}" x="{left:.1f}" y="{y + 3}" width="{wide:.1f}" '
                f'height="{_ROW - 6}"><title>{text(bar.title)}</title></rect>'
            )
    return "\n".join([*parts, "</svg>"])


def _ticks(total_s: float) -> list[float]:
    """Where the axis is labelled: at most so many round instants, in seconds."""
    step = next((s for s in _NICE_S if total_s / s <= _TICKS_COUNT), None)
    if step is None:
        step = 86400 * (1 + int(total_s / 86400 / _TICKS_COUNT))
    if total_s < 2:
        return [0.0, total_s] if total_s > 0 else [0.0]
    return [float(at) for at in range(0, int(total_s - step / 3) + 1, step)]


def _tick(seconds: float) -> str:
    return f"{seconds:.0f}s" if seconds < 60 and seconds == int(seconds) else duration(seconds)
