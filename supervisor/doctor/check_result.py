"""One look of ``supervisor doctor``: what was found, how bad it is, and what to do about it."""

from enum import StrEnum

from workers.records.dataclass import dataclass


class Level(StrEnum):
    """How a look ended."""

    OK = "ok"
    WARN = "warn"
    """It works, but less well than it could, or not for long."""
    BAD = "bad"
    """``start`` would refuse, or records could be lost."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One look.

    Attributes:
        look: what was looked at, in a word or two.
        level: how it ended.
        what: what was found.
        mend: what to do, "" where nothing is to be done.
    """

    look: str
    level: Level
    what: str
    mend: str = ""

    def to_json(self) -> dict[str, str | None]:
        """As ``doctor --json`` prints it."""
        return {
            "look": self.look,
            "level": self.level,
            "what": self.what,
            "mend": self.mend or None,
        }


def ok(look: str, what: str) -> CheckResult:
    """A look that found nothing wrong."""
    return CheckResult(look, Level.OK, what)


def warn(look: str, what: str, mend: str) -> CheckResult:
    """A look that found something to keep an eye on."""
    return CheckResult(look, Level.WARN, what, mend)


def bad(look: str, what: str, mend: str) -> CheckResult:
    """A look that found what must be mended."""
    return CheckResult(look, Level.BAD, what, mend)
