"""What a second reading of the configuration gives the engine."""

from collections.abc import Mapping

from supervisor.core.fleet import Rules
from workers.records.dataclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloaded:
    """A configuration that is right.

    Attributes:
        changes: what is not as it was, a line each.
        notices: what the operator should know of it besides.
    """

    max_runs: int
    groups: Mapping[str, int]
    rules: Rules
    owed_wait_s: float
    changes: tuple[str, ...]
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadRefused:
    """A configuration with errors, a line each: the old one stays in force."""

    problems: tuple[str, ...]
