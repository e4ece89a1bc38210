"""``supervisor show``."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from supervisor.commands.options import RUN, json_option, root_options
from supervisor.config.find_root import layout_of
from supervisor.errors import RunRemovedError
from supervisor.report.read.find_run import find_run
from supervisor.report.read.hook_outcomes import HOOK_COLUMNS, HookOutcome, hook_outcomes, hook_rows
from supervisor.report.read.run_records import (
    ErrorTail,
    environment_sources,
    error_tail,
    manifest_now,
)
from supervisor.report.read.run_rows import worker_host, worker_started_at
from supervisor.report.read.run_tree import RunNode, StageNode, read_tree
from supervisor.report.text.output import (
    amounts,
    duration,
    print_json,
    print_line,
    print_raw,
    table,
    terminal_columns,
)
from supervisor.report.text.sanitize import clean_line
from workers.records.identity import host_name
from workers.records.layout import Layout, RunDir
from workers.records.spec import load_spec
from workers.records.typed_errors import TypedError


@click.command("show", epilog=RUN)
@click.argument("run")
@click.option("--timing", is_flag=True, help="Show how long each part took.")
@root_options
@json_option
def command(run: str, timing: bool, root: str | None, config: str | None, as_json: bool) -> int:
    """Show the record of a run.

    Prints verdict, stages, hooks, and the last lines of failed stages. With --timing, prints how
    long the run was queued, the times of stages, tries and sub-pipelines, the waits between tries,
    and the critical path: the chain of stages that determined the run's duration.

    Exit status: 0, 4 (unknown RUN).

    Example: supervisor show latest
    """
    layout = layout_of(root, config, writes=False)
    try:
        task_id, run_id = find_run(layout, run)
    except RunRemovedError as error:
        if timing:
            raise
        _show_removed(error.line, as_json=as_json)
        return 0
    if timing:
        return _timing(layout, task_id, run_id, as_json=as_json)
    manifest = manifest_now(layout, task_id, run_id)
    directory = layout.run_dir(task_id, run_id)
    hooks = hook_outcomes(directory)
    if as_json:
        print_json("show", {"manifest": manifest, "hooks": [hook.to_json() for hook in hooks]})
        return 0
    _print(directory, read_tree(layout, task_id, run_id))
    _print_hooks(hooks)
    return 0


def _timing(layout: Layout, task_id: str, run_id: str, *, as_json: bool) -> int:
    from supervisor.report.read.timing import timing_json
    from supervisor.report.terminal.timing_table import timing_lines

    tree = read_tree(layout, task_id, run_id)
    if as_json:
        print_json("timing", timing_json(tree))
        return 0
    print_raw(clean_line(f"{tree.run_id}  {tree.status}  {tree.task_id}  {tree.pipeline_id}"))
    for line in timing_lines(tree, terminal_columns(sys.stdout)):
        print_raw(line)
    return 0


def _show_removed(line: dict[str, Any], *, as_json: bool) -> None:
    """Print the history line of a run without a directory."""
    if as_json:
        print_json("show", {"manifest": None, "history": line})
        return
    detail = f" ({line.get('statusDetail')})" if line.get("statusDetail") else ""
    rows = [
        ("run", line.get("runId")),
        ("task", line.get("taskId")),
        ("pipeline", line.get("pipelineId")),
        ("status", f"{line.get('status')}{detail}"),
        ("started", line.get("startedAt")),
        ("ended", line.get("timestamp")),
        ("records", "removed, by 'supervisor gc' or by hand; only the history is left"),
    ]
    if line.get("host") not in (None, host_name()):
        rows.append(("host", line["host"]))
    for name, value in rows:
        print_line(f"{name:<10}{clean_line(str(value))}")


def _print(run: RunDir, tree: RunNode) -> None:
    manifest = tree.manifest
    extensions = manifest["extensions"]
    detail = f" ({manifest['status_detail']})" if manifest["status_detail"] else ""
    rows = [
        ("run", manifest["run_id"]),
        ("task", manifest["task_id"]),
        ("pipeline", f"{manifest['pipeline_id']} - {manifest['pipeline_title']}"),
        ("status", f"{manifest['status']}{detail}"),
        ("accepted", extensions.get("accepted_at") or manifest["started_at"]),
        ("started", worker_started_at(manifest) or "-"),
        ("ended", manifest["completed_at"] or "-"),
        ("time", duration(tree.duration_s)),
        ("heartbeat", manifest["heartbeat_at"] or "-"),
        ("records", run.path),
    ]
    host = worker_host(manifest)
    if host not in (None, host_name()):
        rows.append(("host", host))
    rows += [(name, text) for name, text in _options(extensions) if text]
    with contextlib.suppress(OSError, TypedError):  # 'verify' reports a damaged spec
        rows.append(("env", environment_sources(load_spec(run.spec))))
    if extensions.get("reason"):
        rows.append(("reason", extensions["reason"]))
    for name, value in rows:
        print_line(f"{name:<10}{clean_line(str(value))}")
    for warning in extensions["warnings"]:
        print_line(f"{'warning':<10}{clean_line(warning['message'])}")
    print_line("")
    print_line(table(("#", "STAGE", "STATUS", "TIME", "EXIT", "SUMMARY"), map(_row, tree.stages)))
    for stage in tree.stages:
        if stage.failed:
            _print_error(error_tail(run, stage.index, stage.id), stage.id)


def _options(extensions: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The options of the run; "" for one that was not given."""
    params = extensions.get("params")
    pairs = params.items() if isinstance(params, dict) else ()
    yield "params", ", ".join(f"{name}={value}" for name, value in pairs)
    yield "group", str(extensions.get("group") or "")
    resources = extensions.get("resources")
    yield "takes", amounts(resources) if isinstance(resources, dict) else ""
    yield "priority", str(extensions.get("priority") or "")
    after = extensions.get("after")
    yield "after", ", ".join(map(str, after)) if isinstance(after, list) else ""
    yield "retry of", str(extensions.get("retry_of") or "")


def _row(stage: StageNode) -> tuple[str, ...]:
    time = duration(None if stage.span is None else stage.span.length_s)
    code = stage.facts["exit_code"]
    ended = str(code) if code is not None else stage.signal or "-"
    return str(stage.index), stage.id, stage.status, time, ended, stage.facts["summary"] or ""


def _print_hooks(hooks: Sequence[HookOutcome]) -> None:
    if not hooks:
        return
    print_line("")
    print_line(table(HOOK_COLUMNS, hook_rows(hooks)))
    for hook in hooks:
        if not hook.is_ok and hook.last_lines:
            print_line(f"\nlast lines of {hook.event} (full record: {clean_line(hook.path)})")
            for line in hook.last_lines:
                print_line(f"  output | {line}")


def _print_error(tail: ErrorTail, stage: str) -> None:
    if tail.problem is not None:
        print_line(f"\n{stage}: {clean_line(tail.problem)}")
        return
    print_line(f"\nlast lines of {stage} (full record: {clean_line(tail.path)})")
    for stream, line in tail.lines:
        print_line(f"  {stream} | {line}")
