"""``newest.json``: the run that was accepted last, and the number of acceptances so far.

Ids begin with the wall time of whoever asked, which may be set back. The number orders runs as they
were accepted: it is in ``run_accepted``, by which a start sorts what it takes up. The file is a
view: if a loss of power loses it, counting goes on behind the runs that are unfinished, and
``latest`` goes by ids until a run is accepted.
"""

import contextlib

from workers.records.atomic import replace_file, to_bytes
from workers.records.dataclass import dataclass
from workers.records.files import read_object
from workers.records.ids import id_problem, is_run_id
from workers.records.json_reader import JsonReader
from workers.records.layout import Layout
from workers.records.typed_errors import TypedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Newest:
    """The run that was accepted last, of those that no stage asked for.

    Attributes:
        number: how many runs were accepted up to it, those of stages included.
    """

    run_id: str
    task_id: str
    number: int


def load_newest(layout: Layout) -> Newest | None:
    """Read it; None if there is none that can be read."""
    with contextlib.suppress(OSError, TypedError):
        read = JsonReader(read_object(layout.newest), layout.newest)
        found = Newest(
            run_id=read.text("run_id"), task_id=read.text("task_id"), number=read.integer("number")
        )
        if is_run_id(found.run_id) and id_problem(found.task_id) is None:
            return found
    return None


def store_newest(layout: Layout, newest: Newest) -> None:
    """Write it. A disk that refuses leaves the old one: it is a view."""
    data = {"run_id": newest.run_id, "task_id": newest.task_id, "number": newest.number}
    with contextlib.suppress(OSError, TypedError):
        replace_file(layout.newest, to_bytes(data), flush=False)
