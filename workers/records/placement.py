"""placement.json: the newest attempt of a run that something other than the supervisor starts.

The supervisor writes it before an engine, or the caller that hosts the run, may begin the attempt::

    {"schema": "…/placement/1", "attempt": 1, "launcher": "dask", "resources": {"slot": 1}}

``launcher`` is the engine's name, or ``caller`` if the process behind ``supervisor run`` starts the
worker.
"""

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final

from workers.records.atomic import replace_file, to_bytes
from workers.records.dataclass import dataclass
from workers.records.files import read_object
from workers.records.json_reader import JsonReader, check_schema, to_plain

SCHEMA: Final = "pipeline-supervisor/placement/1"
CALLER: Final = "caller"
"""The launcher of a run that its caller hosts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedAttempt:
    """The content of placement.json.

    Attributes:
        attempt: its number, from 1.
        launcher: who may begin it.
        resources: what it takes of a host, by name; empty for a run that its caller hosts.
    """

    attempt: int
    launcher: str
    resources: Mapping[str, float] = field(default_factory=dict)


def store_placement(path: str, placed: PlacedAttempt) -> None:
    """Write placement.json; raises OSError or BadFileError if that is refused."""
    replace_file(path, to_bytes({"schema": SCHEMA, **to_plain(placed)}))


def read_placement(path: str) -> PlacedAttempt:
    """Read placement.json.

    Raises:
        FileNotFoundError: there is none.
        BadRecordError: it is damaged, or of another format.
    """
    data = read_object(path)
    check_schema(data, SCHEMA, path)
    read = JsonReader(data, path)
    return PlacedAttempt(
        attempt=read.integer("attempt"),
        launcher=read.text("launcher"),
        resources=_numbers(data.get("resources")),
    )


def _numbers(value: Any) -> dict[str, float]:  # noqa: ANN401 - a value of a record
    if not isinstance(value, dict):
        return {}
    return {
        name: number
        for name, number in value.items()
        if isinstance(number, int | float) and not isinstance(number, bool)
    }
