"""What SIGHUP does: the configuration is read again, held against the old one, and told."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from supervisor import version
from supervisor.config.diff import changes
from supervisor.config.find_root import absolute
from supervisor.config.load import LoadedConfig, load_config
from supervisor.daemon.build import rules_of
from supervisor.daemon.reload import Reloaded, ReloadRefused
from supervisor.errors import ConfigError
from supervisor.launchers.spawner import runs_at_once
from workers.records.typed_errors import TypedError

REPLACED: Final = (
    "pipeline-supervisor was upgraded or removed since this supervisor started; "
    "restart it to read the configuration again"
)


class Reloading:
    """Reads the configuration again when it is called.

    Args:
        given: what was read at the start; its root stays, wherever that was typed.
        config: ``--config``.
        flags: the settings of the command line, which win over what is read.
    """

    def __init__(self, given: LoadedConfig, config: str | None, flags: Mapping[str, Any]) -> None:
        self._given = given
        # The current directory may be deleted or moved by the time of a reload.
        self._config = None if config is None else absolute(config)
        self._flags = flags

    def __call__(self) -> Reloaded | ReloadRefused:
        """What was read, or why the old configuration stays."""
        notices: list[str] = []
        if not _is_installed():
            return ReloadRefused(problems=(REPLACED,))
        try:
            root = self._given.layout.root
            new = load_config(root, self._config, tell=notices.append, **self._flags)
        except ConfigError as error:
            return ReloadRefused(problems=tuple(map(str, error.problems)))
        except ImportError as error:  # what reads configuration was not needed before
            return ReloadRefused(problems=(f"{error}; {REPLACED}",))
        except (OSError, TypedError) as error:  # a supervisor does not end for what it cannot read
            return ReloadRefused(problems=(str(error),))
        old, self._given = self._given, new
        found = changes(old.settings, new.settings, old.catalog.pipelines, new.catalog.pipelines)
        rules = rules_of(new.settings)
        return Reloaded(
            max_runs=runs_at_once(new.settings.max_runs),
            groups=dict(new.settings.groups),
            # What runs has the grace that it was accepted with: none is killed within it.
            rules=replace(rules, grace_s=max(rules.grace_s, old.settings.grace_s)),
            owed_wait_s=new.settings.owed_wait_s,
            changes=tuple(change.text for change in found),
            notices=tuple(notices),
        )


def _is_installed() -> bool:
    """Check whether the files that are installed are still those of this process's version.

    Modules that were not needed before would be imported from them now.
    """
    try:
        with open(version.__file__, encoding="utf-8") as file:
            return f'"{version.VERSION}"' in file.read()
    except OSError:
        return False
