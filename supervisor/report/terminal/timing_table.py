"""Where the time went, as lines: sums, every stage with a bar, and the critical path."""

from collections.abc import Iterator, Sequence
from typing import Final

from supervisor.report.read.run_tree import RunNode
from supervisor.report.read.spans import Span
from supervisor.report.read.timing import Step, Timing, timing_of
from supervisor.report.text.output import duration, grid

BAR_COLUMNS: Final = 24
_LEAST_SHARE: Final = 0.01  # of the whole, for a step to have a line of its own
_STEP_WORDS: Final = {
    "queue": "queued",
    "wait": "wait for the next try",
    "slots": "wait for slots",
    "overhead": "overhead",
}


def timing_lines(run: RunNode, limit: int | None) -> Iterator[str]:
    """The lines, each of them clean.

    Args:
        run: a tree of runs.
        limit: how wide a line may be, in columns; None: as it comes.
    """
    timing = timing_of(run)
    yield from _table(("", "TIME", "SHARE"), list(_sums(timing)), limit)
    yield ""
    head = ("STAGE", "BEGIN", "TIME", "SHARE", "TRIES", "|" + "-" * BAR_COLUMNS + "|")
    yield from _table(head, list(_stages(run, timing.total_s, "")), limit)
    yield ""
    yield "critical path:"
    long: list[tuple[str, ...]] = []
    rest: list[Step] = []
    for step in timing.path:
        length_s = step.span.length_s
        if length_s >= _LEAST_SHARE * timing.total_s:
            long.append((_name(step), duration(length_s), _share(length_s, timing.total_s)))
        else:
            rest.append(step)
    if rest:
        rest_s = sum(step.span.length_s for step in rest)
        long.append((f"{len(rest)} shorter ones", duration(rest_s), _share(rest_s, timing.total_s)))
    yield from _table(("STEP", "TIME", "SHARE"), long, limit)


def _table(
    head: tuple[str, ...], rows: Sequence[tuple[str, ...]], limit: int | None
) -> Iterator[str]:
    firm = range(1, len(head))
    for cells in grid(head, rows, limit=limit, firm=firm):
        yield "  ".join(cells).rstrip()


def _sums(timing: Timing) -> Iterator[tuple[str, ...]]:
    for name, seconds in (
        ("queued", timing.queued_s),
        ("stages", timing.stages_s),
        ("overhead", timing.overhead_s),
        ("total", timing.total_s),
    ):
        yield name, duration(seconds), _share(seconds, timing.total_s)
    if timing.waits_s:
        waits_s = timing.waits_s
        yield "waits between tries", duration(waits_s), _share(waits_s, timing.total_s)


def _stages(run: RunNode, total_s: float, indent: str) -> Iterator[tuple[str, ...]]:
    for stage in run.stages:
        span = stage.span
        if span is None:
            yield f"{indent}{stage.id}", "-", "-", "", "", ""
            continue
        yield (
            f"{indent}{stage.id}",
            duration(span.begin_s),
            duration(span.length_s),
            _share(span.length_s, total_s),
            str(len(stage.tries)),
            _bar(span, total_s, [tried.wait for tried in stage.tries if tried.wait]),
        )
        if stage.run is not None:
            yield from _stages(stage.run, total_s, indent + "  ")


def _bar(span: Span, total_s: float, waits: list[Span]) -> str:
    """A stretch of the whole time: ``#`` at work, ``.`` waiting for the next try."""
    cells = [" "] * BAR_COLUMNS
    for mark, part in [("#", span), *((".", wait) for wait in waits)]:
        scale = BAR_COLUMNS / total_s if total_s > 0 else 0.0
        begin = min(BAR_COLUMNS - 1, int(part.begin_s * scale))
        end = max(begin + (mark == "#"), min(BAR_COLUMNS, round(part.end_s * scale)))
        cells[begin:end] = mark * (end - begin)
    return f"|{''.join(cells)}|"


def _share(seconds: float, total_s: float) -> str:
    return f"{100 * seconds / total_s:.0f} %" if total_s > 0 else "-"


def _name(step: Step) -> str:
    words = _STEP_WORDS.get(step.kind)
    if step.stage is None:
        return f"{words} ({step.run_id[-8:]})"
    tried = "" if step.number is None else f", try {step.number}"
    return f"{step.stage}{tried}" + (f": {words}" if words else "")
