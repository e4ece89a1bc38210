"""A row whose peer is not there is skipped by name; the rest is measured all the same."""

from collections.abc import Iterator
from contextlib import contextmanager

from benches.row import Missing, Row


@contextmanager
def skipping(name: str, peer: str = "", goal: float | None = None) -> Iterator[list[Row]]:
    """Gather rows; where something is missing the one that is named here says so."""
    found: list[Row] = []
    try:
        yield found
    except Missing as error:
        found.append(Row(name=name, peer=peer, goal=goal, skipped=str(error)))
