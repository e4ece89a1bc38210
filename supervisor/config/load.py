"""What every verb that needs the configuration begins with: all of it read, or every error told."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from supervisor.config.batches import Batch, batch_path, load_batch
from supervisor.config.catalog import Catalog, load_catalog
from supervisor.config.config_cache import (
    CacheKey,
    batch_cache_key,
    cache_batch,
    cache_config,
    cache_key,
    cached_batch,
    cached_config,
)
from supervisor.config.env_options import given_variables
from supervisor.config.find_root import is_named, layout_of, project_file
from supervisor.config.groups import groups_wrong, groups_wrong_in
from supervisor.config.param_values import words_of
from supervisor.config.run_specs import RunOptions
from supervisor.config.secrets import MEND, hooks_written_down, told_in, written_down
from supervisor.config.settings import Settings
from supervisor.config.stage_needs import uses_wrong
from supervisor.config.trust import check_configuration, trust_of
from supervisor.errors import ConfigError, Problem, RunRemovedError, UsageError
from supervisor.report.text.output import print_error
from workers.records.dataclass import dataclass
from workers.records.layout import Layout
from workers.records.spec import AfterSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedConfig:
    """The root and what was written down for it.

    Attributes:
        project: the file that says so.
        key: all that it depends on.
        writes: as for ``load_config``.
        named: the caller names the root or ``--config``.
    """

    layout: Layout
    project: str | None
    settings: Settings
    catalog: Catalog
    key: CacheKey
    writes: bool
    named: bool

    def batch(self, given: str | None) -> Batch | None:
        """The batch of the command line, else of the settings, else None.

        Raises:
            ConfigError: it is wrong, or holds a secret.
        """
        path = batch_path(given, self.settings.batch)
        if path is None:
            return None
        if self.writes or not self.named:
            trust = trust_of(os.environ, os.geteuid())
            named = self.named or given is not None
            check_configuration((path,), self.layout.root, trust, named=named)
        key = batch_cache_key(self.key, path)
        known = cached_batch(self.layout, key)
        try:
            found = known or load_batch(path, root=self.layout.root, catalog=self.catalog)
        except ConfigError as error:
            if given is not None:
                raise
            raise ConfigError(problems=map(_of_setting, error.problems)) from None
        pipelines, places = found.catalog.pipelines, found.catalog.places
        told = written_down(pipelines.values(), places, self.settings.secrets, os.environ)
        if known is None:
            told += groups_wrong(pipelines, places, self.settings.groups)
            told += uses_wrong(pipelines, places, self.settings.slots)
            told += groups_wrong_in(found, path, self.settings.groups)
        for index, run in enumerate(found.runs):
            for name in told_in(dict(run.params), self.settings.secrets, os.environ):
                what = f"holds the value of the secret {name}: {MEND}"
                told.append(Problem(path, f"runs[{index}].params", what))
        if told:
            raise ConfigError(problems=told)
        if known is None and self.writes:
            cache_batch(self.layout, key, found)
        return found

    def run_options(
        self,
        task: str | None,
        params: tuple[str, ...],
        *,
        priority: int = 0,
        group: str | None = None,
        after: Iterable[str] = (),
        env: Iterable[str] = (),
        cwd: str | None = None,
    ) -> RunOptions:
        """What the command line says of the runs to make.

        Args:
            task: ``--task``.
            params: ``--param``, each ``NAME=VALUE``.
            priority: ``--priority``.
            group: ``--group``.
            after: ``--after``, each as people name a run.
            env: ``--env``, each ``NAME`` or ``NAME=VALUE``.
            cwd: where a command behind ``--`` runs.

        Raises:
            UsageError: it cannot be read, holds a secret, or names a run that could be several.
            UnknownRunError: no run is called as ``after`` says.
        """
        given = words_of(params)
        for name, value in given.items():
            told = told_in(value, self.settings.secrets, os.environ)
            if told:
                raise UsageError(
                    reason=f"param {name!r} contains the value of the secret {told[0]}, which "
                    f"would be recorded: let the command read {told[0]} from its environment"
                )
        found = dict.fromkeys(self._leader(name) for name in after)
        leaders = tuple(AfterSpec(run_id=run_id, task_id=task_id) for task_id, run_id in found)
        return RunOptions(
            task=task,
            params=given,
            priority=priority,
            group=group,
            after=leaders,
            env=given_variables(env, self.settings.secrets, os.environ),
            cwd=cwd,
        )

    def _leader(self, name: str) -> tuple[str, str]:
        """Task and run id of a run to follow; its history is enough to tell how it ended."""
        from supervisor.report.read.find_run import find_run  # most runs follow nobody

        try:
            return find_run(self.layout, name)
        except RunRemovedError as error:
            return str(error.facts["task"]), str(error.facts["run"])


def _of_setting(problem: Problem) -> Problem:
    """Name the setting as well if a batch as a whole cannot be read."""
    if problem.key_path:
        return problem
    return replace(problem, message=f"{problem.message}; the setting 'batch' names it")


def load_config(
    root: str | None,
    config: str | None,
    *,
    writes: bool = True,
    tell: Callable[[str], None] = print_error,
    **flags: Any,  # noqa: ANN401
) -> LoadedConfig:
    """Read settings and pipelines.

    Args:
        root: ``--root``.
        config: ``--config``.
        writes: the verb creates runs; False for one that only checks, which leaves no file behind.
        tell: who is told of keys that are ignored.
        **flags: settings given on the command line; None means not given.

    Raises:
        ConfigError: everything that is wrong in any file, at once; nothing was created.
        ForeignRootError: the root is another user's.
    """
    layout = layout_of(root, config, writes=writes)
    project, given = project_file(layout.root, config), _given(flags)
    key = cache_key(layout, project, given)
    known = cached_config(layout, key)
    settings, catalog = known or _read(layout, project, given)
    told = written_down(catalog.pipelines.values(), catalog.places, settings.secrets, os.environ)
    told += hooks_written_down(settings, project or "settings", os.environ)
    if told:
        raise ConfigError(problems=told)
    if known is None and writes:
        cache_config(layout, key, settings, catalog)
    for notice in catalog.notices:
        tell(notice)
    return LoadedConfig(
        layout=layout,
        project=project,
        settings=settings,
        catalog=catalog,
        key=key,
        writes=writes,
        named=is_named(root, config, os.environ),
    )


def settings_of(layout: Layout, config: str | None, **flags: Any) -> Settings:  # noqa: ANN401
    """Read the settings alone, whatever the pipelines are like.

    Args:
        layout: the root.
        config: ``--config``.
        **flags: as for ``load_config``.

    Raises:
        ConfigError: everything that is wrong in them.
    """
    project, given = project_file(layout.root, config), _given(flags)
    known = cached_config(layout, cache_key(layout, project, given))
    if known is not None:
        return known[0]
    from supervisor.config.load_settings import load_settings

    return load_settings(flags=given, project=project, environ=os.environ)


def _given(flags: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in flags.items() if value is not None}


def _read(
    layout: Layout, project: str | None, flags: Mapping[str, Any]
) -> tuple[Settings, Catalog]:
    """Read and check everything; ConfigError with all that is wrong."""
    from supervisor.config.load_settings import load_settings

    problems: list[Problem] = []
    settings = catalog = None
    try:
        settings = load_settings(flags=flags, project=project, environ=os.environ)
    except ConfigError as error:
        problems += error.problems
    try:
        catalog = load_catalog(layout.root, project)
    except ConfigError as error:
        problems += [p for p in error.problems if p not in problems]
    if settings is None or catalog is None:
        raise ConfigError(problems=problems)
    told = [
        *groups_wrong(catalog.pipelines, catalog.places, settings.groups),
        *uses_wrong(catalog.pipelines, catalog.places, settings.slots),
    ]
    if told:
        raise ConfigError(problems=told)
    return settings, catalog
