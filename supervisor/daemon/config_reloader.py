"""What decisions take from the configuration, at the start and again at SIGHUP."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from supervisor import version
from supervisor.config.diff import changes
from supervisor.config.find_root import absolute
from supervisor.config.load import LoadedConfig, load_config
from supervisor.config.settings import Settings
from supervisor.core.fleet import Rules
from supervisor.core.policy.backoff import Backoff
from supervisor.core.policy.liveness import Ages
from supervisor.errors import ConfigError
from workers.records.dataclass import dataclass
from workers.records.typed_errors import TypedError

REPLACED: Final = (
    "pipeline-supervisor was upgraded or removed since this supervisor started; "
    "restart it to read the configuration again"
)
# fault P10: a launch that lacks memory or a process is tried again
LAUNCH: Final = Backoff(attempts_count=4, delay_s=0.5, factor=2.0, max_delay_s=5.0)


def rules_of(settings: Settings) -> Rules:
    """The settings that decisions need."""
    return Rules(
        lock=Backoff(
            attempts_count=settings.lock_attempts,
            delay_s=settings.lock_delay_s,
            factor=settings.lock_factor,
            max_delay_s=settings.lock_max_delay_s,
        ),
        launch=LAUNCH,
        ages=Ages(
            interval_s=settings.heartbeat_interval_s,
            stale_after_s=settings.heartbeat_stale_after_s,
            hung_after_s=settings.hung_after_s,
        ),
        grace_s=settings.grace_s,
        manifest_throttle_s=settings.manifest_throttle_s,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloaded:
    """A valid configuration.

    Attributes:
        rules: the settings that decisions need.
        changes: what differs from the old one, a line each.
        notices: keys that are ignored, a line each.
    """

    settings: Settings
    rules: Rules
    changes: tuple[str, ...]
    notices: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadRefused:
    """The problems of a configuration, a line each: the old one stays in force."""

    problems: tuple[str, ...]


class ConfigReloader:
    """Reads the configuration again when it is called.

    Args:
        loaded: the configuration of the start; its root stays.
        config: ``--config``.
        flags: the settings of the command line, which override the files.
    """

    def __init__(self, loaded: LoadedConfig, config: str | None, flags: Mapping[str, Any]) -> None:
        self._loaded = loaded
        # The current directory may be deleted or moved by the time of a reload.
        self._config = None if config is None else absolute(config)
        self._flags = flags

    def __call__(self) -> Reloaded | ReloadRefused:
        """The new configuration, or the reasons why the old one stays."""
        notices: list[str] = []
        if not _is_installed():
            return ReloadRefused(problems=(REPLACED,))
        try:
            root = self._loaded.layout.root
            new = load_config(root, self._config, tell=notices.append, **self._flags)
        except ConfigError as error:
            return ReloadRefused(problems=tuple(map(str, error.problems)))
        except ImportError as error:  # modules that read a changed configuration are imported late
            return ReloadRefused(problems=(f"{error}; {REPLACED}",))
        except (OSError, TypedError) as error:
            return ReloadRefused(problems=(str(error),))
        old, self._loaded = self._loaded, new
        found = changes(old.settings, new.settings, old.catalog.pipelines, new.catalog.pipelines)
        rules = rules_of(new.settings)
        return Reloaded(
            settings=new.settings,
            # Running workers keep the grace that they were accepted with: none is killed within it.
            rules=replace(rules, grace_s=max(rules.grace_s, old.settings.grace_s)),
            changes=tuple(change.text for change in found),
            notices=tuple(notices),
        )


def _is_installed() -> bool:
    """Check that the installed files are still those of this process's version.

    Modules that were not imported yet would be imported from them.
    """
    try:
        with open(version.__file__, encoding="utf-8") as file:
            return f'"{version.VERSION}"' in file.read()
    except OSError:
        return False
