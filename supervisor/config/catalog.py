"""All pipelines that can be run, of the configuration and of a batch."""

import os
from collections.abc import Mapping

from supervisor.config.find_root import ORIGIN, is_json
from supervisor.config.param_values import param_reference_problems
from supervisor.config.references import reachable, reference_problems, unknown_pipeline
from supervisor.errors import ConfigError, Problem, UsageError
from workers.records.dataclass import dataclass
from workers.records.spec import PipelineSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Pipelines by id.

    Attributes:
        places: for each id the file that defines it.
        default: the origin's default pipeline.
        notices: messages for the operator.
    """

    pipelines: Mapping[str, PipelineSpec]
    places: Mapping[str, str]
    default: str | None = None
    notices: tuple[str, ...] = ()

    def resolve(self, pipeline_id: str) -> tuple[PipelineSpec, tuple[PipelineSpec, ...]]:
        """A pipeline, and every pipeline that it can reach.

        Raises:
            UsageError: it does not exist; the message names the nearest.
        """
        if pipeline_id not in self.pipelines:
            raise UsageError(reason=unknown_pipeline(pipeline_id, self.pipelines))
        pipeline = self.pipelines[pipeline_id]
        return pipeline, reachable(self.pipelines, pipeline)

    def joined(self, pipelines: Mapping[str, PipelineSpec], path: str) -> "Catalog":
        """This catalog with the pipelines of one more file.

        Raises:
            ConfigError: a pipeline is defined twice, or a reference is wrong.
        """
        problems = [
            Problem(path, f"pipelines.{name}", f"is already defined in {self.places[name]}")
            for name in pipelines
            if name in self.places
        ]
        both = {**self.pipelines, **pipelines}
        places = {**self.places, **dict.fromkeys(pipelines, path)}
        problems += reference_problems(both, places)
        if not problems:
            problems += param_reference_problems(both, places)
        if problems:
            raise ConfigError(problems=problems)
        return Catalog(pipelines=both, places=places, default=self.default, notices=self.notices)


EMPTY = Catalog(pipelines={}, places={})


def load_catalog(root: str, project: str | None) -> Catalog:
    """Read the project's pipelines.

    Args:
        root: the root; its ``codex.orchestrator.json`` is read if the project's file has no
            pipelines.
        project: the project's file, TOML or the origin's JSON; None if there is none.

    Raises:
        ConfigError: every problem.
    """
    if project is not None and is_json(project):
        return _of_origin(project)
    from supervisor.config.pipelines import pipelines_of_file

    pipelines = {} if project is None else pipelines_of_file(project)
    theirs = os.path.join(root, ORIGIN)
    if not pipelines and os.path.lexists(theirs):
        return _of_origin(theirs)
    return EMPTY.joined(pipelines, str(project))


def _of_origin(path: str) -> Catalog:
    from supervisor.config.origin import read_origin

    pipelines, default, notices = read_origin(path)
    catalog = EMPTY.joined(pipelines, path)
    if default is not None and default not in pipelines:
        raise ConfigError(
            problems=[Problem(path, "defaultPipeline", unknown_pipeline(default, pipelines))]
        )
    return Catalog(
        pipelines=catalog.pipelines, places=catalog.places, default=default, notices=notices
    )
