"""One row of the guardrail table: a value found in two ways, and its limit."""

from collections.abc import Iterable
from dataclasses import dataclass

from stress.evidence import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One guardrail.

    Attributes:
        name: snake_case, with its unit.
        value: found the first way, None if not found; ``other``: the second way.
        ways: the two sources.
        limit: the largest value that is no breach; None if the value is only shown.
        source: where the limit comes from.
        agree: the two values agree.
        strict: the value must stay below the limit, not at it.
    """

    name: str
    value: float | None
    other: float | None
    ways: tuple[str, str]
    limit: float | None = None
    source: str = "shown"
    agree: bool = False
    strict: bool = False

    @property
    def breached(self) -> bool:
        """True if the values disagree or one of them exceeds the limit."""
        if self.value is None or self.other is None or not self.agree:
            return True
        worst = max(self.value, self.other)
        if self.limit is None:
            return False
        return worst >= self.limit if self.strict else worst > self.limit


def equal_row(
    name: str,
    value: float | None,
    other: float | None,
    *,
    ways: tuple[str, str],
    limit: float | None = None,
    source: str = "shown",
) -> Row:
    """A row whose two values must be equal; a ratio must stay below its limit."""
    return Row(
        name=name,
        value=value,
        other=other,
        ways=ways,
        limit=limit,
        source=source,
        agree=value == other,
        strict=name.endswith("_ratio"),
    )


def number(record: object, *keys: str) -> float | None:
    """The number at a path of keys; None if there is none."""
    for key in keys:
        record = record.get(key) if isinstance(record, dict) else None
    return record if isinstance(record, int | float) and not isinstance(record, bool) else None


def total(records: Iterable[Record], *keys: str) -> float:
    """The sum over records of the numbers at a path of keys."""
    return sum(number(record, *keys) or 0 for record in records)
