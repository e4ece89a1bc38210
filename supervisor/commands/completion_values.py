"""What a shell completes: runs, pipelines, tasks, stages, files. Reads names only, and quickly.

Nothing is checked here and nothing is ever complained about: a configuration that is wrong offers
what can be read of it. Which words a parameter takes is told by its name, in one table.
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

NEWEST_COUNT: Final = 50  # of each task; who wants an older one has its id
_READ_LIMIT_BYTES: Final = 1024 * 1024

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _layout(ctx: click.Context) -> Layout:
    return layout_of(ctx.params.get("root"), ctx.params.get("config"), writes=False)


def _fitting(words: Iterable[tuple[str, str]], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(word, help=text) for word, text in words if word.startswith(incomplete)]


def runs(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Run ids, the newest first, each with its pipeline and status; and ``latest``."""
    layout = _layout(ctx)
    found = dict(_known_runs(layout))
    given = {str(word) for word in ctx.params.get("runs") or ()}
    newest = [(run_id, found[run_id]) for run_id in sorted(found, reverse=True)]
    return _fitting(
        (p for p in [("latest", "the newest"), *newest] if p[0] not in given), incomplete
    )


def _tasks(layout: Layout) -> list[str]:
    """The tasks; none if the root may not be read: a shell that completes shows no errors."""
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
    """The pipelines of the configuration, each with its title."""
    return _fitting(sorted(_known_pipelines(ctx).items()), incomplete)


def _known_pipelines(ctx: click.Context) -> dict[str, str]:
    root, config = _layout(ctx).root, ctx.params.get("config")
    found = {}
    own = _toml(config or os.path.join(root, CONFIG)).get("pipelines")
    for name, table in own.items() if isinstance(own, dict) else ():
        found[name] = str(table.get("title") or "") if isinstance(table, dict) else ""
    if not found:
        theirs: Any = None
        with contextlib.suppress(OSError, TypedError):
            theirs = read_object(os.path.join(root, "codex.orchestrator.json")).get("pipelines")
        for table in theirs if isinstance(theirs, list) else ():
            if isinstance(table, dict) and isinstance(table.get("id"), str):
                found[table["id"]] = str(table.get("title") or "")
    return found


def _toml(path: str) -> dict[str, Any]:
    with contextlib.suppress(OSError, TypedError, ValueError, RecursionError):
        return tomllib.loads(read_bytes(os.path.realpath(path), _READ_LIMIT_BYTES).decode())
    return {}


def task_ids(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The tasks that have runs."""
    return _fitting(((task_id, "") for task_id in _tasks(_layout(ctx))), incomplete)


def groups(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The groups that the configuration or a living supervisor names."""
    found: set[str] = set()
    written = _toml(ctx.params.get("config") or os.path.join(_layout(ctx).root, CONFIG))
    for holder in (written.get("supervisor"), service_status(_layout(ctx))):
        told = holder.get("groups") if isinstance(holder, dict) else None
        found |= {str(name) for name in told} if isinstance(told, dict) else set()
    return _fitting(((name, "") for name in sorted(found)), incomplete)


def stages(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The stages of the run that stands before."""
    from supervisor.report.read.find_run import find_run

    with contextlib.suppress(OSError, TypedError):
        layout = _layout(ctx)
        run = layout.run_dir(*find_run(layout, str(ctx.params.get("run") or "latest")))
        told: Any = json.loads(read_bytes(run.spec))["pipeline"]["stages"]
        return _fitting(((stage["id"], stage["title"]) for stage in told), incomplete)
    return []


def schemas(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of schemas."""
    from supervisor.commands.schema import NAMES

    return _fitting(NAMES.items(), incomplete)


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
    "words": pipelines,
    "task": task_ids,
    "only": task_ids,
    "group": groups,
    "stage": stages,
    "from_stage": stages,
    "name": schemas,
}
BY_METAVAR: Final[dict[str, Complete]] = {"FILE": _files, "DIR": _folders}


def completes(param: click.Parameter) -> Complete | None:
    """What completes a parameter, None where click's own type does."""
    by_name = BY_NAME.get(param.name or "")
    metavar = param.metavar if isinstance(param, click.Option | click.Argument) else None
    return by_name or BY_METAVAR.get(metavar or "")
