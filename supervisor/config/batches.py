"""Batches: files that name runs to start together."""

import json
import os
from typing import Any

from supervisor.config.catalog import Catalog
from supervisor.config.find_root import absolute
from supervisor.config.param_values import param_problems, resolve_params
from supervisor.config.references import unknown_pipeline
from supervisor.errors import ConfigError, Problem
from workers.records.dataclass import dataclass
from workers.records.json_text import readable
from workers.records.spec import Pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRuns:
    """``count`` runs of a pipeline in a task; ``task`` None means the default task."""

    pipeline: str
    task: str | None
    count: int
    params: Pairs
    priority: int
    group: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch as read.

    Attributes:
        key: identifies the batch: its path, relative to the root if it is below it.
        edition: a digest of the file's content, without layout and comments.
        catalog: the project's pipelines and the batch's own.
    """

    key: str
    edition: str
    runs: tuple[PlannedRuns, ...]
    catalog: Catalog


def load_batch(path: str, *, root: str, catalog: Catalog) -> Batch:
    """Read a batch.

    Args:
        path: the file.
        root: the root, for the key.
        catalog: the project's pipelines.

    Raises:
        ConfigError: every problem.
    """
    from supervisor.config.config_files import read_toml
    from supervisor.config.models import BatchFile
    from supervisor.config.pipelines import parse, pipeline_spec

    path = os.path.realpath(path)
    content = parse(BatchFile, read_toml(path), path)
    own = {name: pipeline_spec(name, item) for name, item in content.pipelines.items()}
    joined = catalog.joined(own, path)
    problems = [
        Problem(path, f"runs[{index}].pipeline", unknown_pipeline(run.pipeline, joined.pipelines))
        for index, run in enumerate(content.runs)
        if run.pipeline not in joined.pipelines
    ]
    for index, run in enumerate(content.runs):
        if run.pipeline in joined.pipelines:
            for name, text in param_problems(
                joined.pipelines[run.pipeline], run.params, typed=True
            ):
                problems.append(Problem(path, f"runs[{index}].params.{name}", text))
    tasks: dict[str, str] = {}
    for index, run in enumerate(content.runs):
        other = tasks.setdefault((run.task or "").lower(), run.task or "")
        if other != (run.task or ""):
            text = f"is the same as {other!r} if case is ignored; write both alike"
            problems.append(Problem(path, f"runs[{index}].task", text))
    if problems:
        raise ConfigError(problems=problems)
    below = path.startswith(root.rstrip("/") + "/")
    return Batch(
        key=readable(os.path.relpath(path, root) if below else path),
        edition=_digest(content.model_dump()),
        runs=tuple(
            PlannedRuns(
                pipeline=run.pipeline,
                task=run.task,
                count=run.count,
                priority=run.priority,
                group=run.group,
                params=resolve_params(joined.pipelines[run.pipeline], run.params, typed=True),
            )
            for run in content.runs
        ),
        catalog=joined,
    )


def _digest(content: dict[str, Any]) -> str:
    import hashlib  # loading OpenSSL takes 10 ms, and only `start` with a batch needs it

    text = json.dumps(content, default=str, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def batch_path(given: str | None, setting: str | None) -> str | None:
    """The batch of the command line, relative to the current directory, else of the setting."""
    return setting if given is None else absolute(given)
