"""Skip rows of missing peers by name; measure the others."""

from collections.abc import Iterator
from contextlib import contextmanager

from benches.row import Missing, Row


@contextmanager
def skipping(name: str, peer: str = "", goal: float | None = None) -> Iterator[list[Row]]:
    """Yield rows; if something is missing, yield one skipped row with the given name."""
    found: list[Row] = []
    try:
        yield found
    except Missing as error:
        found.append(Row(name=name, peer=peer, goal=goal, skipped=str(error)))
