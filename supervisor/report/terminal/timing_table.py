"""``show --timing`` as lines: sums, every stage with a bar, and the critical path."""

from collections.abc import Iterator
from typing import Final

from supervisor.report.read.run_tree import RunNode
from supervisor.report.read.stage_tries import Span
from supervisor.report.read.timing import Step, Timing, timing_of
from supervisor.report.text.output import duration, table

BAR_COLUMNS: Final = 24
_LEAST_SHARE: Final = 0.01  # of the total, for a step to have a line of its own
_STEP_NAMES: Final = {
    "queue": "queued",
    "wait": "wait for the next try",
    "slots": "wait for slots",
    "overhead": "overhead",
}


def timing_lines(run: RunNode, limit: int | None) -> Iterator[str]:
    """The clean lines of a tree of runs, at most ``limit`` columns wide; None: no limit."""
    timing = timing_of(run)

    def lines(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> list[str]:
        return table(head, rows, limit=limit, firm=range(1, len(head))).split("\n")

    yield from lines(("", "TIME", "SHARE"), _sums(timing))
    yield ""
    head = ("STAGE", "BEGIN", "TIME", "SHARE", "TRIES", "|" + "-" * BAR_COLUMNS + "|")
    yield from lines(head, _stages(run, timing.total_s, ""))
    yield ""
    yield "critical path:"
    yield from lines(("STEP", "TIME", "SHARE"), _path(timing))


def _sums(timing: Timing) -> Iterator[tuple[str, ...]]:
    for name, seconds in (
        ("queued", timing.queued_s),
        ("stages", timing.stages_s),
        ("overhead", timing.overhead_s),
        ("total", timing.total_s),
        ("waits between tries", timing.waits_s or None),
    ):
        if seconds is not None:
            yield name, duration(seconds), _share(seconds, timing.total_s)


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
            _bar(span, total_s, [item.wait for item in stage.tries if item.wait]),
        )
        if stage.run is not None:
            yield from _stages(stage.run, total_s, indent + "  ")


def _path(timing: Timing) -> Iterator[tuple[str, ...]]:
    short: list[float] = []
    for step in timing.path:
        length_s = step.span.length_s
        if length_s >= _LEAST_SHARE * timing.total_s:
            yield _step_name(step), duration(length_s), _share(length_s, timing.total_s)
        else:
            short.append(length_s)
    if short:
        name = f"{len(short)} shorter ones"
        yield name, duration(sum(short)), _share(sum(short), timing.total_s)


def _bar(span: Span, total_s: float, waits: list[Span]) -> str:
    """A stage on the time axis of its run: ``#`` running, ``.`` waiting for the next try."""
    cells = [" "] * BAR_COLUMNS
    scale = BAR_COLUMNS / total_s if total_s > 0 else 0.0
    for mark, part in [("#", span), *((".", wait) for wait in waits)]:
        begin = min(BAR_COLUMNS - 1, int(part.begin_s * scale))
        end = max(begin + (mark == "#"), min(BAR_COLUMNS, round(part.end_s * scale)))
        cells[begin:end] = mark * (end - begin)
    return f"|{''.join(cells)}|"


def _share(seconds: float, total_s: float) -> str:
    return f"{100 * seconds / total_s:.0f} %" if total_s > 0 else "-"


def _step_name(step: Step) -> str:
    kind = _STEP_NAMES.get(step.kind)
    if step.stage is None:
        return f"{kind} ({step.run_id[-8:]})"
    number = "" if step.number is None else f", try {step.number}"
    return f"{step.stage}{number}" + (f": {kind}" if kind else "")
