"""The HTML page of one run: verdict, timeline, stages, hooks, and output."""

from collections.abc import Iterator
from typing import Final

from supervisor.report.html import page as html
from supervisor.report.html import timeline
from supervisor.report.read.hook_outcomes import HookOutcome, hook_outcomes
from supervisor.report.read.run_records import error_tail
from supervisor.report.read.run_rows import worker_started_at
from supervisor.report.read.run_tree import RunNode, StageNode
from supervisor.report.read.timing import Timing, timing_of
from supervisor.report.text.output import duration
from workers.output.capture import dropped_mark
from workers.records.files import open_regular, read_from
from workers.records.ids import id_problem
from workers.records.layout import Layout
from workers.records.typed_errors import TypedError

OUTPUT_LIMIT_BYTES: Final = 16_384  # of each stream on the page; the log has the rest
_READ_LIMIT_BYTES: Final = 1 << 20  # a log is at most as long as its run's limit, usually 64 KiB


def page(layout: Layout, run: RunNode) -> str:
    """The page of a run; the same for the same records once the run has finished."""
    title = f"{run.pipeline_id}: {run.run_id}"
    return html.document(title, [f"<h1>{html.text(title)}</h1>", *_parts(layout, run)])


def _parts(layout: Layout, run: RunNode) -> Iterator[str]:
    timing = timing_of(run)
    detail = f" ({html.text(run.detail)})" if run.detail else ""
    verdict = ("verdict" if run.ended else "status", html.status(run.status) + detail)
    values = ((name, html.text(value)) for name, value in _facts(layout, run, timing))
    yield html.facts([verdict, *values])
    rows = list(timeline.timeline_rows(run))
    if rows:
        yield "<h2>Timeline</h2>"
        yield timeline.svg(rows, timing.total_s)
    yield "<h2>Stages</h2>"
    yield html.table(("stage", "status", "time", "tries", "ended by", "summary"), _stages(run, ""))
    hooks = hook_outcomes(layout.run_dir(run.task_id, run.run_id))
    if hooks:
        yield "<h2>Hooks</h2>"
        yield html.table(("hook", "status", "time", "ended by", "reason"), map(_hook, hooks))
    yield "<h2>Output</h2>"
    yield from _outputs(layout, run, "")
    for hook in hooks:
        if hook.output:
            head = _output_head(f"{hook.event} hook", hook.dropped_bytes)
            body = f"<pre>{html.output(hook.output)}</pre>"
            yield f"<details {'' if hook.is_ok else 'open'}>{head}{body}</details>"


def _facts(layout: Layout, run: RunNode, timing: Timing) -> Iterator[tuple[str, object]]:
    manifest = run.manifest
    extensions = manifest.get("extensions") or {}
    if run.reason:
        yield "reason", run.reason
    yield "task", run.task_id
    yield "pipeline", f"{run.pipeline_id} - {manifest.get('pipeline_title', '-')}"
    yield "accepted", extensions.get("accepted_at") or manifest.get("started_at")
    yield "started", worker_started_at(manifest) or "-"
    yield "ended", manifest.get("completed_at") or "-"
    yield "time", duration(run.duration_s)
    if run.host is not None:
        yield "host", run.host
    yield "from acceptance to end", duration(timing.total_s)
    yield "queued", duration(timing.queued_s)
    yield "waits between tries", duration(timing.waits_s)
    yield "overhead", duration(timing.overhead_s)
    yield "records", layout.relative(layout.run_dir(run.task_id, run.run_id).path)
    for warning in extensions.get("warnings") or ():
        yield "warning", warning.get("message")
    beats = extensions.get("heartbeat") or {}
    if beats.get("writes_ok") is not None:
        counts = f"{beats['writes_ok']} written, {beats.get('writes_failed')} failed"
        yield "heartbeat", f"{counts}, the slowest in {beats.get('slowest_s')} s"
    if extensions.get("leftover_pids"):
        yield "leftovers", extensions["leftover_pids"]


def _stages(run: RunNode, above: str) -> Iterator[tuple[str, ...]]:
    """A row for each stage, the stages of child runs below the stage that started them."""
    for stage in run.stages:
        name, child = f"{above}{stage.id}", stage.run
        ended_by = stage.signal or stage.facts["exit_code"]
        yield (
            html.text(name),
            html.status(stage.status),
            html.text(duration(None if stage.span is None else stage.span.length_s)),
            html.text(len(stage.tries) or ""),
            html.text("" if ended_by is None else ended_by),
            html.text(stage.facts["summary"] or ""),
        )
        if child is not None:
            if not child.manifest:
                reason = html.text(child.reason or "")
                yield html.text(f"{name}/"), html.status(child.status), "", "", "", reason
            yield from _stages(child, f"{name}/")


def _hook(hook: HookOutcome) -> tuple[str, ...]:
    return (
        html.text(hook.event),
        html.status(hook.status),
        html.text(duration(hook.duration_s)),
        html.text(hook.ended_by),
        html.text(hook.reason or ""),
    )


def _output_head(title: str, dropped_bytes: int) -> str:
    gap = f' <span class="gap">{dropped_bytes} bytes were dropped</span>' if dropped_bytes else ""
    return f"<summary>{html.text(title)}{gap}</summary>"


def _outputs(layout: Layout, run: RunNode, above: str) -> Iterator[str]:
    for stage in run.stages:
        name = f"{above}{stage.id}"
        if stage.run is not None:
            yield from _outputs(layout, stage.run, f"{name}/")
        elif stage.span is not None and id_problem(stage.id) is None:
            yield from _output(layout, run, stage, name)


def _output(layout: Layout, run: RunNode, stage: StageNode, name: str) -> Iterator[str]:
    directory = layout.run_dir(run.task_id, run.run_id)
    for stream in ("stdout", "stderr"):
        path = directory.stage_log(stage.index, stage.id, stream)
        data = _read(path)
        if data is None and stage.failed:  # the log was removed; the error file has its end
            tail = error_tail(directory, stage.index, stage.id).lines
            data = "\n".join(line for kind, line in tail if kind == stream).encode() or None
        if not data:
            continue
        dropped_bytes = _dropped_bytes(stage, stream)
        shown = "open" if stage.status == "failed" else ""
        yield f"<details {shown}>{_output_head(f'{name} {stream}', dropped_bytes)}"
        omitted_bytes = len(data) - OUTPUT_LIMIT_BYTES
        if omitted_bytes > 0:
            data = data[-OUTPUT_LIMIT_BYTES:]
            where = html.text(layout.relative(path))
            yield f'<p class="gap">{omitted_bytes} bytes before this are in {where}</p>'
        key = stage.tries[-1].mark_key if stage.tries else None
        mark = dropped_mark(dropped_bytes, key).decode().rstrip() if dropped_bytes else None
        lines = html.output(data.decode("utf-8", "backslashreplace")).split("\n")
        text = "\n".join(
            f'<span class="gap">{line}</span>' if line == mark else line for line in lines
        )
        yield f"<pre>{text}</pre></details>"


def _dropped_bytes(stage: StageNode, stream: str) -> int:
    counts = stage.extension.get(stream)
    count = counts.get("dropped_bytes", 0) if isinstance(counts, dict) else 0
    return count if isinstance(count, int) else 0


def _read(path: str) -> bytes | None:
    try:
        fd = open_regular(path, 0)
    except (OSError, TypedError):
        return None
    with open(fd, "rb") as file:
        return read_from(file.fileno(), 0, _READ_LIMIT_BYTES)
