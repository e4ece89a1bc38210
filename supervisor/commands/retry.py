"""``supervisor retry``."""

import os
from typing import Any

import click

from supervisor.commands.options import RUN, json_option, root_options
from supervisor.commands.run_waiter import RunRef, ended_manifest
from supervisor.config.find_root import layout_of
from supervisor.config.run_specs import retry_spec
from supervisor.core.policy.retry_plan import reused_stages
from supervisor.report.read.find_run import dependencies_for_retry, find_run
from supervisor.report.read.run_records import fold_journal, load_manifest, pending_specs
from supervisor.report.text.output import json_line, print_accepted
from workers.records.layout import Layout
from workers.records.manifest import FINAL, Status
from workers.records.request import Request, RequestKind, publish
from workers.records.spec import RunSpec, load_spec


@click.command("retry", epilog=RUN)
@click.argument("run")
@click.option(
    "--from",
    "from_stage",
    metavar="STAGE",
    help="Run this stage and its dependents again, even if they succeeded.",
)
@root_options
@json_option
def command(
    run: str, from_stage: str | None, root: str | None, config: str | None, as_json: bool
) -> int:
    """Retry a run, reusing the stages that succeeded.

    Submits a new run with the stages and parameters of RUN, and prints its id. The configuration is
    not read again. If RUN was submitted with --after, the new run waits for the newest retry of
    that run.

    Refused if RUN has not ended, if it succeeded (unless with --from), or if a run it depends on
    failed and was not retried.

    Exit status: 0, 2 (refused), 4 (unknown RUN).

    Example: supervisor retry latest
    """
    layout = layout_of(root, config, writes=True)
    task_id, run_id = find_run(layout, run)
    old, manifest = _record(layout, task_id, run_id)
    kept = reused_stages(manifest, old.pipeline, from_stage)
    spec = retry_spec(old, kept, dependencies_for_retry(layout, old))
    publish(layout, Request(kind=RequestKind.RUNS, runs=(spec,)))
    names = [item.stage for item in kept]
    facts = {"run_id": spec.run_id, "task_id": task_id, "retry_of": run_id, "kept": names}
    line = json_line("retry", facts) if as_json else f"{spec.run_id}\n"
    print_accepted(line, spec.run_id)
    return 0


def _record(layout: Layout, task_id: str, run_id: str) -> tuple[RunSpec, dict[str, Any]]:
    """Spec and manifest. A run has ended when its verdict is in history and state."""
    run = layout.run_dir(task_id, run_id)
    if not os.path.isdir(run.path):
        spec = next(spec for spec in pending_specs(layout) if spec.run_id == run_id)
        return spec, fold_journal(layout, spec)
    manifest = load_manifest(layout, task_id, run_id)
    marked = os.path.lexists(layout.marker(run_id)) and manifest["status"] in FINAL
    if marked and ended_manifest(layout, RunRef(task_id, run_id)) is None:
        manifest["status"] = str(Status.IN_PROGRESS)
    return load_spec(run.spec), manifest
