"""A run as a tree of lines: its stages, the runs of its sub-pipelines, what failures said.

Hooks are told below it where one did not go well.
"""

from collections.abc import Iterator
from typing import Any

from supervisor.report.read.error_tail import ErrorTail, error_tail
from supervisor.report.read.hook_outcomes import hook_outcomes, hook_problem
from supervisor.report.read.queue_reasons import queue_reason
from supervisor.report.read.run_tree import RunNode, StageNode
from supervisor.report.terminal.run_table import Line
from supervisor.report.text.output import duration, pad, width
from supervisor.report.text.sanitize import clean_line
from workers.records.identity import host_name
from workers.records.ids import id_problem
from workers.records.layout import Layout

_TOLD_OTHERWISE = ("command-failed", "subpipeline-failed")  # by exit code or signal; by its run
_FORK, _LAST, _ON, _OFF = "|- ", "`- ", "|  ", "   "


class Branches:
    """Draws trees.

    Args:
        layout: the root.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def lines(self, run: RunNode) -> Iterator[Line]:
        """The lines of a run, each of them clean."""
        about = f"  {duration(run.duration_s)}  {run.task_id}  {run.pipeline_id}{_on(run.host)}"
        yield _line("", f"{run.run_id}  ", run.status, about)
        if run.span is None and run.manifest:
            why = queue_reason(self._layout, run.manifest) if run.status == "queued" else None
            yield _line(
                "  ", f"queued for {duration(run.queued.length_s)}{f': {why}' if why else ''}"
            )
        if run.detail or run.reason:
            yield _line("  ", " - ".join(text for text in (run.detail, run.reason) if text))
        yield from self._below(run, "")
        for hook in hook_outcomes(self._layout.run_dir(run.task_id, run.run_id)):
            if not hook.is_ok:
                yield _line("", hook_problem(hook))

    def _below(self, run: RunNode, prefix: str) -> Iterator[Line]:
        names = max((width(clean_line(s.id)) for s in run.stages), default=0)
        for stage in run.stages:
            last = stage is run.stages[-1]
            yield _stage(stage, prefix + (_LAST if last else _FORK), names)
            inner = prefix + (_OFF if last else _ON)
            if stage.run is not None:
                if stage.run.reason and not stage.run.stages:
                    yield _line(inner, f"{stage.run.status}: {stage.run.reason}")
                yield from self._below(stage.run, inner)
            elif stage.status == "failed" and stage.failed:
                yield from self._tail(run, stage, inner)

    def _tail(self, run: RunNode, stage: StageNode, prefix: str) -> Iterator[Line]:
        tail = stage_error_tail(self._layout, run, stage)
        if tail.problem is not None:
            yield _line(prefix, tail.problem)
        for stream, line in tail.lines:
            yield _line(prefix, f"{stream} | {line}")


def _stage(stage: StageNode, prefix: str, names: int) -> Line:
    lasted = "-" if stage.span is None else duration(stage.span.length_s)
    words = f"  {lasted:>7}  {', '.join(_about(stage))}"
    return _line(prefix, f"{pad(clean_line(stage.id), names)}  ", stage.status, words)


def _on(host: str | None) -> str:
    """Where a worker is, unless that is here."""
    return "" if host in (None, host_name()) else f"  on {host}"


def _line(prefix: str, text: str, status: str = "", rest: str = "") -> Line:
    """One line; what is foreign in it is cleaned."""
    shown = f"{clean_line(status):<11}" if status else ""
    return Line(prefix + clean_line(text), shown, clean_line(rest), status)


def stage_error_tail(layout: Layout, run: RunNode, stage: StageNode) -> ErrorTail:
    """What a failed stage of a run said last."""
    if id_problem(stage.id) is not None:
        return ErrorTail("", (), "its record names no stage")
    return error_tail(layout.run_dir(run.task_id, run.run_id), stage.index, stage.id)


def _about(stage: StageNode) -> Iterator[str]:
    """What else is to be said of a stage, in a few words each."""
    reason = stage.extension.get("reason")
    if reason is not None and reason not in _TOLD_OTHERWISE and stage.facts["summary"]:
        yield stage.facts["summary"]
    elif stage.signal is not None:
        yield stage.signal
    elif stage.facts["exit_code"] not in (None, 0):
        yield f"exit {stage.facts['exit_code']}"
    if stage.slot_wait is not None:
        waits = stage.status in ("pending", "running") and not stage.tries
        yield "waiting for slots" if waits else f"waited {duration(stage.slot_wait.length_s)}"
    if stage.status == "running" and stage.tries:
        if stage.tries[-1].wait is not None:
            yield f"waiting for try {len(stage.tries) + 1}"
        elif len(stage.tries) > 1:
            yield f"try {len(stage.tries)}"
    elif len(stage.tries) > 1:
        yield f"{len(stage.tries)} tries"
    if stage.run is not None:
        yield f"{stage.run.pipeline_id} {stage.run.run_id[-8:]}{_on(stage.run.host)}"
    elif stage.facts["summary"] and not stage.tries:  # it could not begin, or was kept
        yield stage.facts["summary"]


def stages_json(layout: Layout, run: RunNode) -> list[dict[str, Any]]:
    """The stages of a run as ``status RUN --json`` prints them; seconds, None where not begun."""
    found = []
    for stage in run.stages:
        tail: tuple[tuple[str, str], ...] = ()
        if stage.failed and stage.run is None:
            tail = stage_error_tail(layout, run, stage).lines
        span = stage.span
        found.append(
            {
                "index": stage.index,
                "id": stage.id,
                "status": stage.status,
                "begin_s": None if span is None else round(span.begin_s, 3),
                "duration_s": None if span is None else round(span.length_s, 3),
                "exit_code": stage.facts["exit_code"],
                "signal": stage.signal,
                "tries_count": len(stage.tries),
                "summary": stage.facts["summary"],
                "last_lines": [{"stream": stream, "text": text} for stream, text in tail],
                "run": None if stage.run is None else _run_json(layout, stage.run),
            }
        )
    return found


def _run_json(layout: Layout, run: RunNode) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "pipeline_id": run.pipeline_id,
        "host": run.host,
        "status": run.status,
        "status_detail": run.detail,
        "reason": run.reason,
        "duration_s": None if run.duration_s is None else round(run.duration_s, 3),
        "stages": stages_json(layout, run),
    }
