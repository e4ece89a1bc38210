"""The result of one health check of ``supervisor doctor``."""

from enum import StrEnum

from workers.records.dataclass import dataclass


class Level(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    """Usable, but degraded."""
    BAD = "bad"
    """``start`` would refuse, or records could be lost."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check.

    Attributes:
        check: the name of the check.
        level: how it ended.
        what: what was found.
        fix: what to do, "" if nothing.
    """

    check: str
    level: Level
    what: str
    fix: str = ""

    def to_json(self) -> dict[str, str | None]:
        """As ``doctor --json`` prints it."""
        what, fix = self.what, self.fix or None
        return {"check": self.check, "level": self.level, "what": what, "fix": fix}


def ok(check: str, what: str) -> CheckResult:
    """Nothing is wrong."""
    return CheckResult(check, Level.OK, what)


def warn(check: str, what: str, fix: str) -> CheckResult:
    """Usable, but degraded."""
    return CheckResult(check, Level.WARN, what, fix)


def bad(check: str, what: str, fix: str) -> CheckResult:
    """To be fixed before anything runs."""
    return CheckResult(check, Level.BAD, what, fix)
