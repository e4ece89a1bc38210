"""What the workers of a Dask cluster have room for."""

from collections.abc import Mapping

Rooms = dict[str, dict[str, list[float]]]
"""By worker and by what it offers: how much of it is free, and how much there is."""


def roomiest(rooms: Rooms, wanted: Mapping[str, float]) -> str | None:
    """The worker with the most room of those that have enough, None where there is none."""
    found = [
        (min(room[name][0] - amount for name, amount in wanted.items()), address)
        for address, room in rooms.items()
        if all(name in room and room[name][0] >= amount for name, amount in wanted.items())
    ]
    return max(found)[1] if found else None


def take_room(room: dict[str, list[float]], wanted: Mapping[str, float]) -> None:
    """Subtract what an attempt takes from what a worker has free."""
    for name, amount in wanted.items():
        if name in room:
            room[name][0] -= amount
