"""Values for shell completion: runs, pipelines, tasks, groups, stages, schemas, files.

It reads names only, quickly, and reports no errors: a wrong configuration offers what can be read.
"""

import contextlib
import json
import os
import tomllib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from supervisor.config.find_root import CONFIG, layout_of
from supervisor.report.read.run_records import pending_specs
from supervisor.report.read.run_rows import service_status
from supervisor.store.root_listing import tasks
from workers.records.files import read_bytes, read_object
from workers.records.history import last_lines
from workers.records.ids import is_run_id
from workers.records.layout import Layout
from workers.records.typed_errors import TypedError

NEWEST_COUNT: Final = 50  # of each task
_READ_LIMIT_BYTES: Final = 1024 * 1024

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _layout(ctx: click.Context) -> Layout:
    return layout_of(ctx.params.get("root"), ctx.params.get("config"), writes=False)


def _matching(values: Iterable[tuple[str, str]], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(v, help=text) for v, text in values if v.startswith(incomplete)]


def runs(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """``latest`` and run ids, newest first, with pipeline and status."""
    known = dict(_known_runs(_layout(ctx)))
    given = {str(name) for name in ctx.params.get("runs") or ()}
    newest = [(run_id, known[run_id]) for run_id in sorted(known, reverse=True)]
    values = (pair for pair in [("latest", "the newest"), *newest] if pair[0] not in given)
    return _matching(values, incomplete)


def _tasks(layout: Layout) -> list[str]:
    """The tasks; none if the root cannot be read."""
    try:
        return tasks(layout)
    except OSError:
        return []


def _known_runs(layout: Layout) -> Iterator[tuple[str, str]]:
    for task_id in _tasks(layout):
        with contextlib.suppress(OSError, TypedError):
            for line in last_lines(layout.history(task_id), NEWEST_COUNT):
                yield str(line.get("runId")), f"{line.get('pipelineId')}, {line.get('status')}"
    with contextlib.suppress(OSError):
        for name in os.listdir(layout.accepted):
            if is_run_id(name):
                yield name, "not finished"
    for spec in pending_specs(layout):
        yield spec.run_id, f"{spec.pipeline.id}, queued"


def pipelines(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Pipelines of the configuration, with their titles."""
    return _matching(sorted(_known_pipelines(ctx).items()), incomplete)


def _known_pipelines(ctx: click.Context) -> dict[str, str]:
    root, config = _layout(ctx).root, ctx.params.get("config")
    known = {}
    own = _toml(config or os.path.join(root, CONFIG)).get("pipelines")
    for name, table in own.items() if isinstance(own, dict) else ():
        known[name] = str(table.get("title") or "") if isinstance(table, dict) else ""
    if not known:
        origin: Any = None
        with contextlib.suppress(OSError, TypedError):
            origin = read_object(os.path.join(root, "codex.orchestrator.json")).get("pipelines")
        for table in origin if isinstance(origin, list) else ():
            if isinstance(table, dict) and isinstance(table.get("id"), str):
                known[table["id"]] = str(table.get("title") or "")
    return known


def _toml(path: str) -> dict[str, Any]:
    with contextlib.suppress(OSError, TypedError, ValueError, RecursionError):
        return tomllib.loads(read_bytes(os.path.realpath(path), _READ_LIMIT_BYTES).decode())
    return {}


def task_ids(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Tasks with runs."""
    return _matching(((task_id, "") for task_id in _tasks(_layout(ctx))), incomplete)


def groups(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Groups of the configuration or of a running supervisor."""
    known: set[str] = set()
    written = _toml(ctx.params.get("config") or os.path.join(_layout(ctx).root, CONFIG))
    for holder in (written.get("supervisor"), service_status(_layout(ctx))):
        groups = holder.get("groups") if isinstance(holder, dict) else None
        known |= {str(name) for name in groups} if isinstance(groups, dict) else set()
    return _matching(((name, "") for name in sorted(known)), incomplete)


def stages(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Stages of the run given before."""
    from supervisor.report.read.find_run import find_run

    with contextlib.suppress(OSError, TypedError):
        layout = _layout(ctx)
        run = layout.run_dir(*find_run(layout, str(ctx.params.get("run") or "latest")))
        stages: Any = json.loads(read_bytes(run.spec))["pipeline"]["stages"]
        return _matching(((stage["id"], stage["title"]) for stage in stages), incomplete)
    return []


def schemas(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of schemas."""
    from supervisor.commands.schema import NAMES

    return _matching(NAMES.items(), incomplete)


def _files(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="file")]


def _folders(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="dir")]


BY_NAME: Final[dict[str, Complete]] = {
    "run": runs,
    "runs": runs,
    "after": runs,
    "pipeline": pipelines,
    "pipelines": pipelines,
    "argv": pipelines,
    "task": task_ids,
    "only": task_ids,
    "group": groups,
    "stage": stages,
    "from_stage": stages,
    "name": schemas,
}
BY_METAVAR: Final[dict[str, Complete]] = {"FILE": _files, "DIR": _folders}


def completer(param: click.Parameter) -> Complete | None:
    """The function that completes a parameter; None leaves it to click."""
    by_name = BY_NAME.get(param.name or "")
    metavar = param.metavar if isinstance(param, click.Option | click.Argument) else None
    return by_name or BY_METAVAR.get(metavar or "")
