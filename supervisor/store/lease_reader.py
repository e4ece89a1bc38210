"""Which supervisor serves a root, for readers: the lease itself is taken in ``lease``."""

from typing import TYPE_CHECKING, Any

from workers.records.files import read_object
from workers.records.flock import is_flocked
from workers.records.json_reader import JsonReader
from workers.records.layout import Layout
from workers.records.typed_errors import TypedError

if TYPE_CHECKING:
    from workers.records.identity import Identity


def read_lease(layout: Layout) -> dict[str, Any]:
    """The record of the lease; empty if it is missing or damaged."""
    try:
        return read_object(layout.lease)
    except (OSError, TypedError):
        return {}


def lease_holder(layout: Layout) -> "tuple[Identity | None, bool]":
    """The holder that the record names, and whether it is a temporary supervisor.

    The holder is None if the record is missing or damaged, as shortly after the lock was taken.
    """
    from workers.records.identity import Identity  # not needed if no supervisor serves the root

    data = read_lease(layout)
    try:
        identity = Identity.from_fields(JsonReader(data, layout.lease).child("identity"))
    except TypedError:
        return None, False
    return identity, data.get("temporary") is True


def serving_supervisor(layout: Layout) -> "Identity | None":
    """The supervisor that serves this root now, or None."""
    try:
        return lease_holder(layout)[0] if is_flocked(layout.lease_lock) else None
    except TypedError:
        return None
