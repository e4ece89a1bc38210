"""Concurrency groups: they are declared with their limits, so a name that is not is a mistake."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from supervisor.config.suggest import mend
from supervisor.errors import Problem
from workers.records.spec import PipelineSpec

if TYPE_CHECKING:
    from supervisor.config.batches import Batch


def unknown(group: str, groups: Iterable[str]) -> str:
    """Why a group cannot be meant."""
    told = mend(group, groups, none="[supervisor.groups] declares none")
    return f"there is no group {group!r}; {told}"


def groups_wrong(
    pipelines: Mapping[str, PipelineSpec], places: Mapping[str, str], groups: Mapping[str, int]
) -> Iterator[Problem]:
    """The groups that pipelines name and no setting declares."""
    for name, pipeline in pipelines.items():
        if pipeline.group is not None and pipeline.group not in groups:
            yield Problem(places[name], f"pipelines.{name}.group", unknown(pipeline.group, groups))


def groups_wrong_in(batch: "Batch", path: str, groups: Mapping[str, int]) -> Iterator[Problem]:
    """The same of a batch's runs."""
    for index, run in enumerate(batch.runs):
        if run.group is not None and run.group not in groups:
            yield Problem(path, f"runs[{index}].group", unknown(run.group, groups))
