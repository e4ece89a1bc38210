"""``supervisor plan``."""

import os
from typing import Any, Final

import click

from supervisor.commands.options import json_option, param_option, root_options
from supervisor.config.load import load_config
from supervisor.config.run_specs import SpecBuilder
from supervisor.config.settings import PLACED
from supervisor.report.text.output import amounts, print_json, print_line
from workers.records.json_reader import to_plain
from workers.records.spec import ParamSpec, PipelineSpec

INHERITED: Final = (
    "stages inherit the environment of the caller ('run') or of the supervisor ('submit', 'start')"
)


@click.command("plan")
@click.argument("pipeline")
@param_option
@root_options
@json_option
def command(
    pipeline: str, params: tuple[str, ...], root: str | None, config: str | None, as_json: bool
) -> int:
    """Show what a pipeline would run.

    Prints the stages of PIPELINE and of its sub-pipelines. With --param, the values are filled in.
    Creates nothing.

    Example: supervisor plan lint
    """
    given = load_config(root, config, writes=False)
    chosen, below = given.catalog.resolve(pipeline)
    if params:
        asking = SpecBuilder(settings=given.settings, asked_by="plan")
        chosen = asking.named(given.catalog, pipeline, given.run_options(None, params)).pipeline
    if as_json:
        facts: dict[str, Any] = {"pipeline": to_plain(chosen), "pipelines": to_plain(below)}
        print_json("plan", facts)
        return 0
    lines: list[str] = []
    for item in (chosen, *below):
        lines += _lines(item, given.layout.root)
        if item.resources and item is chosen:
            lines.insert(1, _taken(item, given.settings.launcher))
    lines.append(INHERITED)
    print_line("\n".join(lines))
    return 0


def _lines(pipeline: PipelineSpec, root: str) -> list[str]:
    limit = f", at most {pipeline.timeout_s:g} s" if pipeline.timeout_s else ""
    limit += f", {pipeline.max_parallel} stages at once" if pipeline.max_parallel else ""
    group = f", group {pipeline.group}" if pipeline.group else ""
    lines = [f"{pipeline.id} - {pipeline.title}{limit}{group}"]
    lines += [f"  {_param(item)}" for item in pipeline.takes]
    for index, stage in enumerate(pipeline.stages, 1):
        command = stage.command
        argv = command if isinstance(command, str) else " ".join(command or ())
        what = f"pipeline {stage.pipeline}" if stage.pipeline else argv
        lines.append(f"  {index}. {stage.id}: {what}")
        cwd = stage.cwd or pipeline.cwd
        facts = []
        if cwd:
            facts.append(f"in {os.path.normpath(os.path.join(root, cwd))}")
        if stage.timeout_s:
            facts.append(f"at most {stage.timeout_s:g} s")
        if stage.retries.attempts > 1:
            facts.append(f"up to {stage.retries.attempts} tries")
        if stage.needs is not None:
            facts.append(f"needs {', '.join(stage.needs) or 'nothing'}")
        if stage.uses:
            facts.append(f"uses {', '.join(stage.uses)}")
        if stage.nice:
            facts.append(f"nice {stage.nice}")
        if stage.allow_failure:
            facts.append("may fail")
        if stage.params:
            facts.append(f"params {', '.join('='.join(pair) for pair in stage.params)}")
        names = [name for name, _ in (*pipeline.env, *stage.env)]
        if names:
            facts.append(f"env {', '.join(names)}")
        if facts:
            lines.append(f"     {'; '.join(facts)}")
    return lines


def _taken(pipeline: PipelineSpec, launcher: str) -> str:
    """The resources of a run, and whether the launcher reserves them."""
    unused = "" if launcher in PLACED else f" (not reserved by launcher {launcher})"
    return f"  takes {amounts(dict(pipeline.resources))} of its host{unused}"


def _param(item: ParamSpec) -> str:
    kind = f"one of {', '.join(item.choices)}" if item.choices else item.type
    default = "required" if item.default is None else f"default {item.default!r}"
    about = f": {item.description}" if item.description else ""
    return f"--param {item.name}=...  {kind}, {default}{about}"
