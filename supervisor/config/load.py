"""Reading the configuration for a verb: all of it, or every error at once."""

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
from supervisor.config.find_root import is_named, layout_of, project_file
from supervisor.config.option_values import read_params, read_variables
from supervisor.config.references import declared_problems, unknown_group
from supervisor.config.run_specs import RunOptions
from supervisor.config.secrets import contains, hook_secret_problems, secret_problems, secrets_in
from supervisor.config.settings import Settings
from supervisor.config.trust import check_configuration, trust_of
from supervisor.errors import ConfigError, Problem, RunRemovedError, UsageError
from supervisor.report.text.output import print_error
from workers.records.dataclass import dataclass
from workers.records.layout import Layout
from workers.records.spec import AfterSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedConfig:
    """A root and its configuration.

    Attributes:
        project: the project's file, None if there is none.
        key: identifies everything that the configuration depends on.
        writes: as for ``load_config``.
        named: the caller named the root or ``--config``.
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
            ConfigError: every problem of the batch, secrets in it included.
        """
        path = batch_path(given, self.settings.batch)
        if path is None:
            return None
        if self.writes or not self.named:
            trust = trust_of(os.environ, os.geteuid())
            named = self.named or given is not None
            check_configuration((path,), self.layout.root, trust, named=named)
        key = batch_cache_key(self.key, path)
        cached = cached_batch(self.layout, key)
        try:
            batch = cached or load_batch(path, root=self.layout.root, catalog=self.catalog)
        except ConfigError as error:
            if given is not None:
                raise
            raise ConfigError(problems=map(_of_setting, error.problems)) from None
        pipelines, places = batch.catalog.pipelines, batch.catalog.places
        secrets, groups = self.settings.secrets, self.settings.groups
        problems = secret_problems(pipelines.values(), places, secrets, os.environ)
        if cached is None:
            slots = self.settings.slots
            problems += declared_problems(pipelines, places, groups=groups, slots=slots)
        for index, run in enumerate(batch.runs):
            if run.group is not None and run.group not in groups:
                text = unknown_group(run.group, groups)
                problems.append(Problem(path, f"runs[{index}].group", text))
            for name in secrets_in(dict(run.params), secrets, os.environ):
                problems.append(Problem(path, f"runs[{index}].params", contains(name)))
        if problems:
            raise ConfigError(problems=problems)
        if cached is None and self.writes:
            cache_batch(self.layout, key, batch)
        return batch

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
        """Read the options of ``run`` and ``submit``.

        Args:
            task: ``--task``.
            params: ``--param``, each ``NAME=VALUE``.
            priority: ``--priority``.
            group: ``--group``.
            after: ``--after``, each an id, a prefix, or "latest".
            env: ``--env``, each ``NAME`` or ``NAME=VALUE``.
            cwd: working directory of a command after ``--``.

        Raises:
            UsageError: an option is not valid, contains a secret, or names several runs.
            UnknownRunError: a run of ``after`` does not exist.
        """
        values = read_params(params)
        for name, value in values.items():
            secrets = secrets_in(value, self.settings.secrets, os.environ)
            if secrets:
                raise UsageError(
                    reason=f"param {name!r} contains the value of the secret {secrets[0]}, which "
                    f"would be recorded: let the command read {secrets[0]} from its environment"
                )
        runs = dict.fromkeys(self._dependency(name) for name in after)
        return RunOptions(
            task=task,
            params=values,
            priority=priority,
            group=group,
            after=tuple(AfterSpec(run_id=run_id, task_id=task_id) for task_id, run_id in runs),
            env=read_variables(env, self.settings.secrets, os.environ),
            cwd=cwd,
        )

    def _dependency(self, name: str) -> tuple[str, str]:
        """Task and run id of a run to wait for; its history suffices to know how it ended."""
        from supervisor.report.read.find_run import find_run  # most runs wait for none

        try:
            return find_run(self.layout, name)
        except RunRemovedError as error:
            return str(error.facts["task"]), str(error.facts["run"])


def _of_setting(problem: Problem) -> Problem:
    """Name the setting, too, if a batch as a whole cannot be read."""
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
        writes: the verb creates runs; False if it only checks and leaves no file behind.
        tell: prints a notice about ignored keys.
        **flags: settings given on the command line; None means not given.

    Raises:
        ConfigError: every problem of every file; nothing was created.
        ForeignRootError: the root belongs to another user.
    """
    layout = layout_of(root, config, writes=writes)
    project, given = project_file(layout.root, config), _given(flags)
    key = cache_key(layout, project, given)
    cached = cached_config(layout, key)
    settings, catalog = cached or _read(layout, project, given)
    pipelines = catalog.pipelines.values()
    problems = secret_problems(pipelines, catalog.places, settings.secrets, os.environ)
    problems += hook_secret_problems(settings, project or "settings", os.environ)
    if problems:
        raise ConfigError(problems=problems)
    if cached is None and writes:
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
    """Read the settings alone, even if the pipelines are wrong.

    Args:
        layout: the root.
        config: ``--config``.
        **flags: as for ``load_config``.

    Raises:
        ConfigError: every problem of the settings.
    """
    project, given = project_file(layout.root, config), _given(flags)
    cached = cached_config(layout, cache_key(layout, project, given))
    if cached is not None:
        return cached[0]
    from supervisor.config.load_settings import load_settings

    return load_settings(flags=given, project=project, environ=os.environ)


def _given(flags: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in flags.items() if value is not None}


def _read(
    layout: Layout, project: str | None, flags: Mapping[str, Any]
) -> tuple[Settings, Catalog]:
    """Read and check everything; ConfigError with every problem."""
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
    problems += declared_problems(
        catalog.pipelines, catalog.places, groups=settings.groups, slots=settings.slots
    )
    if problems:
        raise ConfigError(problems=problems)
    return settings, catalog
