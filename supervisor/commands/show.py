"""``supervisor show RUN``: one run's record."""

import os
from typing import Any

import click

from supervisor.commands.options import json_option, layout_of, root_options
from supervisor.errors import RunRemovedError
from supervisor.report.clean import clean, clean_line
from supervisor.report.find import find_run
from supervisor.report.records import fold_now, load_manifest, requested
from supervisor.report.text import duration, print_json, table, tell
from workers.records.errors import TypedError
from workers.records.fields import Fields
from workers.records.files import read_object
from workers.records.ids import check_id
from workers.records.layout import RunDir

TAIL_LINES_COUNT = 10


@click.command("show", short_help="Show one run's record.")
@click.argument("run")
@root_options
@json_option
def command(run: str, root: str | None, config: str | None, as_json: bool) -> int:
    """Show one RUN: its verdict, its stages, and the last lines of what failed.

    RUN is a run id, a unique prefix of one, its last 8 digits, or "latest".

    Example: supervisor show latest
    """
    layout = layout_of(root, config)
    try:
        task_id, run_id = find_run(layout, run)
    except RunRemovedError as error:
        _show_removed(error.line, as_json=as_json)
        return 0
    if os.path.isdir(layout.run_dir(task_id, run_id).path):
        manifest = load_manifest(layout, task_id, run_id)
    else:
        spec = next(spec for spec in requested(layout) if spec.run_id == run_id)
        manifest = fold_now(layout, spec)
    if as_json:
        print_json("show", {"manifest": manifest})
        return 0
    _print(layout.run_dir(task_id, run_id), manifest)
    return 0


def _show_removed(line: dict[str, Any], *, as_json: bool) -> None:
    """What the history still says of a run whose directory is no more."""
    if as_json:
        print_json("show", {"manifest": None, "history": line})
        return
    detail = f" ({line.get('statusDetail')})" if line.get("statusDetail") else ""
    rows = (
        ("run", line.get("runId")),
        ("task", line.get("taskId")),
        ("pipeline", line.get("pipelineId")),
        ("status", f"{line.get('status')}{detail}"),
        ("started", line.get("startedAt")),
        ("ended", line.get("timestamp")),
        ("records", "removed by retention or by hand; this is what the history tells"),
    )
    for name, value in rows:
        tell(f"{name:<10}{clean_line(str(value))}")


def _print(run: RunDir, manifest: dict[str, Any]) -> None:
    extensions = manifest["extensions"]
    detail = f" ({manifest['status_detail']})" if manifest["status_detail"] else ""
    rows = [
        ("run", manifest["run_id"]),
        ("task", manifest["task_id"]),
        ("pipeline", f"{manifest['pipeline_id']} - {manifest['pipeline_title']}"),
        ("status", f"{manifest['status']}{detail}"),
        ("started", manifest["started_at"]),
        ("ended", manifest["completed_at"] or "-"),
        ("time", duration(extensions.get("duration_s"))),
        ("heartbeat", manifest["heartbeat_at"] or "-"),
        ("records", run.path),
    ]
    if extensions.get("reason"):
        rows.append(("reason", extensions["reason"]))
    for name, value in rows:
        tell(f"{name:<10}{clean_line(str(value))}")
    for warning in extensions["warnings"]:
        tell(f"{'warning':<10}{clean_line(warning['message'])}")
    tell("")
    facts = {stage["id"]: stage for stage in extensions["stages"]}
    head = ("#", "STAGE", "STATUS", "TIME", "EXIT", "SUMMARY")
    tell(
        table(
            head,
            [
                (
                    str(c["index"]),
                    c["id"],
                    c["status"],
                    duration(facts.get(c["id"], {}).get("duration_s")),
                    _exit(c, facts.get(c["id"], {})),
                    c["summary"] or "",
                )
                for c in manifest["commands"]
            ],
        )
    )
    for stage in manifest["commands"]:
        if stage["error_file"]:
            # Where it is follows from the run and the stage, whatever path the manifest names.
            path = run.error_file(stage["index"], check_id("stage", stage["id"]))
            _print_error(path, stage["id"])


def _exit(command: dict[str, Any], facts: dict[str, Any]) -> str:
    if command["exit_code"] is not None:
        return str(command["exit_code"])
    return str(facts.get("signal") or "-")


def _print_error(path: str, stage: str) -> None:
    try:
        details = Fields(read_object(path), path).child("details")
        streams = {stream: details.text(stream) for stream in ("stdout", "stderr")}
    except (OSError, TypedError) as error:
        tell(f"\n{stage}: {clean_line(str(error))}")
        return
    tell(f"\nlast lines of {stage} (all that was kept: {clean_line(path)})")
    for stream, text in streams.items():
        for line in clean(text).splitlines()[-TAIL_LINES_COUNT:]:
            tell(f"  {stream} | {line}")
