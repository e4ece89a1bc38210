"""A run as a tree: its stages, its child runs, the last lines of failures, and failed hooks."""

from collections.abc import Iterator
from typing import Any

from supervisor.report.read.hook_outcomes import hook_outcomes
from supervisor.report.read.queue_state import queue_reason
from supervisor.report.read.run_records import error_tail
from supervisor.report.read.run_tree import RunNode, StageNode
from supervisor.report.terminal.run_table import Line
from supervisor.report.text.output import duration, pad, width
from supervisor.report.text.sanitize import clean_line
from workers.records.identity import host_name
from workers.records.layout import Layout

# For these reasons the exit code, the signal or the child run is shown instead of the summary.
_SHOWN_OTHERWISE = ("command-failed", "subpipeline-failed")


def run_tree_lines(layout: Layout, run: RunNode) -> Iterator[Line]:
    """The lines of a tree of runs, each of them clean."""
    about = f"  {duration(run.duration_s)}  {run.task_id}  {run.pipeline_id}{_on_host(run.host)}"
    yield _line("", f"{run.run_id}  ", run.status, about)
    if run.span is None and run.manifest:
        reason = queue_reason(layout, run.manifest) if run.status == "queued" else None
        text = f"queued for {duration(run.queued.length_s)}"
        yield _line("  ", f"{text}: {reason}" if reason else text)
    if run.detail or run.reason:
        yield _line("  ", " - ".join(text for text in (run.detail, run.reason) if text))
    yield from _stage_lines(layout, run, "")
    for hook in hook_outcomes(layout.run_dir(run.task_id, run.run_id)):
        if not hook.is_ok:
            yield _line("", hook.problem)


def _stage_lines(layout: Layout, run: RunNode, prefix: str) -> Iterator[Line]:
    names_width = max((width(clean_line(s.id)) for s in run.stages), default=0)
    for stage in run.stages:
        is_last = stage is run.stages[-1]
        lasted = "-" if stage.span is None else duration(stage.span.length_s)
        yield _line(
            prefix + ("`- " if is_last else "|- "),
            f"{pad(clean_line(stage.id), names_width)}  ",
            stage.status,
            f"  {lasted:>7}  {', '.join(_details(stage))}",
        )
        below = prefix + ("   " if is_last else "|  ")
        if stage.run is not None:
            if stage.run.reason and not stage.run.stages:
                yield _line(below, f"{stage.run.status}: {stage.run.reason}")
            yield from _stage_lines(layout, stage.run, below)
        elif stage.status == "failed" and stage.failed:
            tail = error_tail(layout.run_dir(run.task_id, run.run_id), stage.index, stage.id)
            if tail.problem is not None:
                yield _line(below, tail.problem)
            for stream, line in tail.lines:
                yield _line(below, f"{stream} | {line}")


def _on_host(host: str | None) -> str:
    return "" if host in (None, host_name()) else f"  on {host}"


def _line(prefix: str, text: str, status: str = "", rest: str = "") -> Line:
    """One line; foreign text is cleaned."""
    shown = f"{clean_line(status):<11}" if status else ""
    return Line(prefix + clean_line(text), shown, clean_line(rest), status)


def _details(stage: StageNode) -> Iterator[str]:
    """What is shown after a stage's duration."""
    reason, summary = stage.extension.get("reason"), stage.facts["summary"]
    if reason is not None and reason not in _SHOWN_OTHERWISE and summary:
        yield summary
    elif stage.signal is not None:
        yield stage.signal
    elif stage.facts["exit_code"] not in (None, 0):
        yield f"exit {stage.facts['exit_code']}"
    if stage.slot_wait is not None:
        is_waiting = stage.status in ("pending", "running") and not stage.tries
        waited = duration(stage.slot_wait.length_s)
        yield "waiting for slots" if is_waiting else f"waited {waited}"
    if stage.status == "running" and stage.tries:
        if stage.tries[-1].wait is not None:
            yield f"waiting for try {len(stage.tries) + 1}"
        elif len(stage.tries) > 1:
            yield f"try {len(stage.tries)}"
    elif len(stage.tries) > 1:
        yield f"{len(stage.tries)} tries"
    if stage.run is not None:
        yield f"{stage.run.pipeline_id} {stage.run.run_id[-8:]}{_on_host(stage.run.host)}"
    elif summary and not stage.tries:  # it could not begin, or its result was reused
        yield summary


def stages_json(layout: Layout, run: RunNode) -> list[dict[str, Any]]:
    """The stages of a run as ``status RUN --json`` prints them; times in seconds."""
    stages = []
    for stage in run.stages:
        tail: tuple[tuple[str, str], ...] = ()
        if stage.failed and stage.run is None:
            directory = layout.run_dir(run.task_id, run.run_id)
            tail = error_tail(directory, stage.index, stage.id).lines
        span, child = stage.span, stage.run
        stages.append(
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
                "run": child
                and {
                    "run_id": child.run_id,
                    "pipeline_id": child.pipeline_id,
                    "host": child.host,
                    "status": child.status,
                    "status_detail": child.detail,
                    "reason": child.reason,
                    "duration_s": child.duration_s and round(child.duration_s, 3),
                    "stages": stages_json(layout, child),
                },
            }
        )
    return stages
