"""What the records beside a run's and a task's own must hold: views, pauses, placements, wishes.

Readers of a view use it only if all of it is as it must be; ``verify`` reports each that is not.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from workers.records.files import read_object
from workers.records.json_reader import JsonReader
from workers.records.layout import Layout, RunDir
from workers.records.limits import PID_LIMIT
from workers.records.typed_errors import NewerRecordError, TypedError

Check = Callable[[JsonReader], None]
_GROUP_COUNTS: Final = ("limit", "running", "queued")
_RUN_TEXTS: Final = ("task_id", "pipeline_id", "state", "liveness", "started_at", "host", "placed")


def check_status(read: JsonReader) -> None:
    """Check the content of status.json; BadRecordError if a value is of another type."""
    for key in ("mode", "watch", "durability", "updated_at"):
        read.text_or_none(key)
    for key in ("max_runs", "queued_count"):
        read.integer_or_none(key)
    groups = read.child_or_none("groups")
    if groups is not None:
        for name in groups.names():
            group = groups.child(name)
            for key in _GROUP_COUNTS:
                group.integer_or_none(key)
    for run in read.children("runs"):
        run.text("run_id")
        for key in _RUN_TEXTS:
            run.text_or_none(key)
        if run.integer_or("pid", 1) > PID_LIMIT:
            raise run.bad("pid", "is no process id")


def check_lease(read: JsonReader) -> None:
    """Check the content of lease.json."""
    from workers.records.identity import Identity  # readers of views do not need it

    Identity.from_fields(read.child("identity"))
    read.text_or_none("since")


def check_cancel(read: JsonReader) -> None:
    """Check the content of a run's cancel.json."""
    read.text_or_none("detail")


def check_placement(read: JsonReader) -> None:
    """Check the content of a run's placement.json."""
    read.integer("attempt", 1)
    read.text("launcher")
    read.amounts("resources")


def view(path: str, check: Check) -> dict[str, Any]:
    """A view, or nothing if it is missing, damaged or holds a value of another type."""
    try:
        data = read_object(path)
        check(JsonReader(data, path))
    except (OSError, TypedError):
        return {}
    return data


def problems_of_root(layout: Layout) -> Iterator[tuple[str, str]]:
    """The records of the supervisor itself that are not as they must be: path and reason."""
    yield from _problem(layout.status, check_status)
    yield from _problem(layout.lease, check_lease)


def problems_of_run(run: RunDir) -> Iterator[tuple[str, str]]:
    """The records beside a run's own, likewise."""
    yield from _problem(run.cancel, check_cancel)
    yield from _problem(run.placement, check_placement)


def _problem(path: str, check: Check) -> Iterator[tuple[str, str]]:
    try:
        check(JsonReader(read_object(path), path))
    except (FileNotFoundError, NotADirectoryError, NewerRecordError):
        return
    except (OSError, TypedError) as error:
        yield path, str(error).removeprefix(f"{path}: ")
