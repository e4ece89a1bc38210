"""What SIGHUP does: the configuration is read again, held against the old one, and told."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from supervisor.commands.configured import Configured, configure
from supervisor.engine.reload import Refused, Reloaded
from supervisor.errors import ConfigError
from supervisor.plan.reload import changes
from supervisor.wiring import rules_of


class Reloading:
    """Reads the configuration again when it is called.

    Args:
        given: what was read at the start.
        root: ``--root``.
        config: ``--config``.
        flags: the settings of the command line, which win over what is read.
    """

    def __init__(
        self, given: Configured, root: str | None, config: str | None, flags: Mapping[str, Any]
    ) -> None:
        self._given = given
        self._root = root or given.layout.root
        self._config = config
        self._flags = flags

    def __call__(self) -> Reloaded | Refused:
        """What was read, or why the old configuration stays."""
        notices: list[str] = []
        try:
            new = configure(self._root, self._config, tell=notices.append, **self._flags)
        except ConfigError as error:
            return Refused(problems=tuple(map(str, error.problems)))
        old, self._given = self._given, new
        found = changes(old.settings, new.settings, old.catalog.pipelines, new.catalog.pipelines)
        rules = rules_of(new.settings)
        return Reloaded(
            max_runs=new.settings.max_runs,
            groups=dict(new.settings.groups),
            # What runs has the grace that it was accepted with: none is killed within it.
            rules=replace(rules, grace_s=max(rules.grace_s, old.settings.grace_s)),
            owed_wait_s=new.settings.owed_wait_s,
            changes=tuple(change.text for change in found),
            notices=tuple(notices),
        )
