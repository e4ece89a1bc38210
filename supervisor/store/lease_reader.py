"""Who serves a root, for whoever only asks: the lease itself is taken in ``lease``."""

from typing import TYPE_CHECKING, Any

from workers.records.files import read_object
from workers.records.flock import is_flocked
from workers.records.json_reader import JsonReader
from workers.records.layout import Layout
from workers.records.typed_errors import TypedError

if TYPE_CHECKING:
    from workers.records.identity import Identity


def read_lease(layout: Layout) -> dict[str, Any]:
    """Who says that he holds the lease; empty where nothing readable is there."""
    try:
        return read_object(layout.lease)
    except (OSError, TypedError):
        return {}


def lease_holder(layout: Layout) -> "tuple[Identity | None, bool]":
    """The process that says that it holds the lease, and whether it is a temporary supervisor.

    None if nothing readable is there, as for a moment after the lock was taken.
    """
    from workers.records.identity import Identity

    data = read_lease(layout)
    try:
        who = Identity.from_fields(JsonReader(data, layout.lease).child("identity"))
    except TypedError:
        return None, False
    return who, data.get("temporary") is True


def serving_supervisor(layout: Layout) -> "Identity | None":
    """The supervisor that serves this root now, or None."""
    data = read_lease(layout)
    try:
        if not is_flocked(layout.lease_lock):
            return None
        from workers.records.identity import Identity  # where nobody serves it is not needed

        return Identity.from_fields(JsonReader(data, layout.lease).child("identity"))
    except TypedError:
        return None
