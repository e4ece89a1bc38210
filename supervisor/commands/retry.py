"""``supervisor retry``: make a run again, without the stages that succeeded."""

import os
from typing import Any

import click

from supervisor.commands.options import json_option, root_options
from supervisor.commands.run_waiter import RunRef, ended
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


@click.command("retry", short_help="Make a run again, without the stages that succeeded.")
@click.argument("run")
@click.option(
    "--from",
    "from_stage",
    metavar="STAGE",
    help="Make this stage and all that need it in any case.",
)
@root_options
@json_option
def command(
    run: str, from_stage: str | None, root: str | None, config: str | None, as_json: bool
) -> int:
    """Hand in a new run of what RUN was to do, and print its id.

    Stages that succeeded in RUN are kept: they are not made again, and the new run's record names
    the run that made them. The rest is made, as RUN was asked for: later changes of the
    configuration do not count. If RUN was submitted with --after, the new run follows the newest
    retry of that run. Refused while RUN has not ended, if it succeeded (unless with --from, which
    makes that stage and all that need it), and if a run that it follows failed and was not retried.

    Example: supervisor retry latest --from tests
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
    """Spec and manifest; a run whose verdict is not yet in history and state has not ended."""
    run = layout.run_dir(task_id, run_id)
    if not os.path.isdir(run.path):
        spec = next(spec for spec in pending_specs(layout) if spec.run_id == run_id)
        return spec, fold_journal(layout, spec)
    manifest = load_manifest(layout, task_id, run_id)
    marked = os.path.lexists(layout.marker(run_id))
    if marked and manifest["status"] in FINAL and ended(layout, RunRef(task_id, run_id)) is None:
        manifest["status"] = str(Status.IN_PROGRESS)
    return load_spec(run.spec), manifest
