"""Batches: a file that names runs to make together."""

import json
import os
from typing import Any

from supervisor.config.catalog import Catalog
from supervisor.config.find_root import absolute
from supervisor.config.param_values import resolved, wrong_with
from supervisor.config.references import unknown
from supervisor.errors import ConfigError, Problem
from workers.records.dataclass import dataclass
from workers.records.spec import Pairs
from workers.records.utf8 import readable


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """So many runs of a pipeline in a task; ``task`` None means the default task."""

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
        key: names the batch, so that a start can find it unfinished: its path, relative to the
            root where it is below it.
        edition: what the file says, as a digest; layout and comments do not count.
        catalog: the project's pipelines and the batch's own.
    """

    key: str
    edition: str
    runs: tuple[Planned, ...]
    catalog: Catalog


def load_batch(path: str, *, root: str, catalog: Catalog) -> Batch:
    """Read a batch.

    Args:
        path: the file.
        root: the root, for the key.
        catalog: the project's pipelines.

    Raises:
        ConfigError: everything that is wrong.
    """
    from supervisor.config.config_files import read_toml
    from supervisor.config.models import BatchFile
    from supervisor.config.pipelines import parse, pipeline_spec

    path = os.path.realpath(path)
    content = parse(BatchFile, read_toml(path), path)
    own = {name: pipeline_spec(name, item) for name, item in content.pipelines.items()}
    joined = catalog.joined(own, path)
    problems = [
        Problem(path, f"runs[{index}].pipeline", unknown(run.pipeline, joined.pipelines))
        for index, run in enumerate(content.runs)
        if run.pipeline not in joined.pipelines
    ]
    for index, run in enumerate(content.runs):
        if run.pipeline in joined.pipelines:
            wrong = wrong_with(joined.pipelines[run.pipeline], run.params, typed=True)
            problems += [Problem(path, f"runs[{index}].params.{key}", why) for key, why in wrong]
    tasks: dict[str, str] = {}
    for index, run in enumerate(content.runs):
        other = tasks.setdefault((run.task or "").lower(), run.task or "")
        if other != (run.task or ""):
            text = f"is the same as {other!r} where case is ignored; write both alike"
            problems.append(Problem(path, f"runs[{index}].task", text))
    if problems:
        raise ConfigError(problems=problems)
    below = path.startswith(root.rstrip("/") + "/")
    return Batch(
        key=readable(os.path.relpath(path, root) if below else path),
        edition=_digest(content.model_dump()),
        runs=tuple(
            Planned(
                pipeline=run.pipeline,
                task=run.task,
                count=run.count,
                priority=run.priority,
                group=run.group,
                params=resolved(joined.pipelines[run.pipeline], run.params, typed=True),
            )
            for run in content.runs
        ),
        catalog=joined,
    )


def _digest(content: dict[str, Any]) -> str:
    """A digest of what a batch says."""
    told = json.dumps(content, default=str, sort_keys=True)
    import hashlib  # loading OpenSSL takes 10 ms, and only `start` with a batch needs it

    return hashlib.sha256(told.encode()).hexdigest()[:16]


def batch_path(given: str | None, setting: str | None) -> str | None:
    """Which batch is meant: the one on the command line, relative to here, else the setting's."""
    return setting if given is None else absolute(given)
