"""The page of one run: verdict, timeline, stages, hooks, and what they said."""

from collections.abc import Iterator, Sequence
from typing import Final

from supervisor.report.html import page as html
from supervisor.report.html import timeline
from supervisor.report.read.hook_outcomes import HookOutcome, hook_outcomes
from supervisor.report.read.run_records import worker_started_at
from supervisor.report.read.run_tree import RunNode, StageNode
from supervisor.report.read.timing import Timing, timing_of
from supervisor.report.terminal.run_tree_text import stage_error_tail
from supervisor.report.text.output import duration
from workers.output.capture import dropped_mark
from workers.records.files import open_regular, read_from
from workers.records.ids import id_problem
from workers.records.layout import Layout
from workers.records.typed_errors import TypedError

OUTPUT_LIMIT_BYTES: Final = 16_384  # of each stream on the page; the rest is in the log
_READ_LIMIT_BYTES: Final = 1 << 20  # a log is no longer than its run's limit, usually 64 KiB


def page(layout: Layout, run: RunNode) -> str:
    """The page; the same for the same records, once the run has ended.

    Args:
        layout: the root.
        run: its tree.
    """
    title = f"{run.pipeline_id}: {run.run_id}"
    return html.document(title, [f"<h1>{html.text(title)}</h1>", *_parts(layout, run)])


def _parts(layout: Layout, run: RunNode) -> Iterator[str]:
    timing = timing_of(run)
    yield html.facts(_facts(layout, run, timing))
    tracks = list(timeline.timeline_rows(run))
    if tracks:
        yield "<h2>Timeline</h2>"
        yield timeline.svg(tracks, timing.total_s)
    yield "<h2>Stages</h2>"
    yield html.table(
        ("stage", "status", "time", "tries", "ended by", "summary"), list(_rows(run, ""))
    )
    hooks = hook_outcomes(layout.run_dir(run.task_id, run.run_id))
    if hooks:
        yield "<h2>Hooks</h2>"
        yield html.table(("hook", "status", "time", "ended by", "why"), list(_hook_rows(hooks)))
    yield "<h2>Output</h2>"
    yield from _outputs(layout, run, "")
    for hook in hooks:
        yield from _said(hook)


def _facts(layout: Layout, run: RunNode, timing: Timing) -> Iterator[tuple[str, str]]:
    manifest = run.manifest
    detail = f" ({html.text(run.detail)})" if run.detail else ""
    yield "verdict" if run.ended else "status", html.status(run.status) + detail
    if run.reason:
        yield "reason", html.text(run.reason)
    yield "task", html.text(run.task_id)
    yield "pipeline", html.text(f"{run.pipeline_id} - {manifest.get('pipeline_title', '-')}")
    extensions = manifest.get("extensions") or {}
    yield "accepted", html.text(extensions.get("accepted_at") or manifest.get("started_at"))
    yield "started", html.text(worker_started_at(manifest) or "-")
    yield "ended", html.text(manifest.get("completed_at") or "-")
    yield "time", html.text(duration(run.duration_s))
    if run.host is not None:
        yield "host", html.text(run.host)
    for name, seconds in (
        ("from acceptance to end", timing.total_s),
        ("queued", timing.queued_s),
        ("waits between tries", timing.waits_s),
        ("overhead", timing.overhead_s),
    ):
        yield name, html.text(duration(seconds))
    directory = layout.relative(layout.run_dir(run.task_id, run.run_id).path)
    yield "records", html.text(directory)
    for warning in extensions.get("warnings") or ():
        yield "warning", html.text(warning.get("message"))
    beats = extensions.get("heartbeat") or {}
    if beats.get("writes_ok") is not None:
        yield (
            "heartbeat",
            html.text(
                f"{beats.get('writes_ok')} written, {beats.get('writes_failed')} failed, "
                f"the slowest in {beats.get('slowest_s')} s"
            ),
        )
    if extensions.get("leftover_pids"):
        yield "left alive", html.text(extensions["leftover_pids"])


def _rows(run: RunNode, above: str) -> Iterator[tuple[str, ...]]:
    for stage in run.stages:
        name = f"{above}{stage.id}"
        ended = stage.signal or stage.facts["exit_code"]
        yield (
            html.text(name),
            html.status(stage.status),
            html.text(duration(None if stage.span is None else stage.span.length_s)),
            html.text(len(stage.tries) or ""),
            html.text("" if ended is None else ended),
            html.text(stage.facts["summary"] or ""),
        )
        if stage.run is not None:
            if not stage.run.manifest:
                about = html.text(stage.run.reason or "")
                yield html.text(f"{name}/"), html.status(stage.run.status), "", "", "", about
            yield from _rows(stage.run, f"{name}/")


def _hook_rows(hooks: Sequence[HookOutcome]) -> Iterator[tuple[str, ...]]:
    for hook in hooks:
        yield (
            html.text(hook.event),
            html.status(hook.status),
            html.text(duration(hook.duration_s)),
            html.text(hook.ended_by),
            html.text(hook.reason or ""),
        )


def _said(hook: HookOutcome) -> Iterator[str]:
    if hook.output:
        head = f"{html.text(hook.event)} hook"
        if hook.dropped_bytes:
            head += f' <span class="gap">{hook.dropped_bytes} bytes were dropped</span>'
        shown = "" if hook.is_ok else "open"
        body = f"<pre>{html.output(hook.output)}</pre>"
        yield f"<details {shown}><summary>{head}</summary>{body}</details>"


def _outputs(layout: Layout, run: RunNode, above: str) -> Iterator[str]:
    for stage in run.stages:
        name = f"{above}{stage.id}"
        if stage.run is not None:
            yield from _outputs(layout, stage.run, f"{name}/")
        elif stage.span is not None and id_problem(stage.id) is None:
            yield from _output(layout, run, stage, name)


def _output(layout: Layout, run: RunNode, stage: StageNode, name: str) -> Iterator[str]:
    directory = layout.run_dir(run.task_id, run.run_id)
    shown = "open" if stage.status == "failed" else ""
    for stream in ("stdout", "stderr"):
        path = directory.stage_log(stage.index, stage.id, stream)
        data = _read(path)
        dropped = _dropped(stage, stream)
        if data is None and stage.failed:  # the log was removed, the end of it is left
            lines = [
                line for kind, line in stage_error_tail(layout, run, stage).lines if kind == stream
            ]
            data = "\n".join(lines).encode() or None
        if not data:
            continue
        head = f"{html.text(name)} {stream}"
        if dropped:
            head += f' <span class="gap">{dropped} bytes were dropped</span>'
        yield f"<details {shown}><summary>{head}</summary>"
        left_out = len(data) - OUTPUT_LIMIT_BYTES
        if left_out > 0:
            data = data[-OUTPUT_LIMIT_BYTES:]
            where = html.text(layout.relative(path))
            yield f'<p class="gap">{left_out} bytes before this are in {where}</p>'
        key = stage.tries[-1].mark_key if stage.tries else None
        mark = dropped_mark(dropped, key).decode().rstrip() if dropped else None
        yield f"<pre>{_marked(data, mark)}</pre></details>"


def _marked(data: bytes, mark: str | None) -> str:
    """Output for the page; the line that stands for dropped bytes is made visible."""
    shown = html.output(data.decode("utf-8", "backslashreplace"))
    return "\n".join(
        f'<span class="gap">{line}</span>' if line == mark else line for line in shown.split("\n")
    )


def _dropped(stage: StageNode, stream: str) -> int:
    counts = stage.extension.get(stream)
    found = counts.get("dropped_bytes", 0) if isinstance(counts, dict) else 0
    return found if isinstance(found, int) else 0


def _read(path: str) -> bytes | None:
    try:
        fd = open_regular(path, 0)
    except (OSError, TypedError):
        return None
    with open(fd, "rb") as file:
        return read_from(file.fileno(), 0, _READ_LIMIT_BYTES)
