"""What a failed stage said last, from its error file."""

import os
from typing import Final

from supervisor.report.text.sanitize import clean
from workers.records.dataclass import dataclass
from workers.records.files import read_object
from workers.records.ids import check_id
from workers.records.json_reader import JsonReader
from workers.records.layout import RunDir
from workers.records.typed_errors import TypedError

TAIL_LINES_COUNT: Final = 10  # of each stream, as much as fits beside the rest on a screen


@dataclass(frozen=True, slots=True)
class ErrorTail:
    """The end of a failed stage's output.

    Attributes:
        path: the error file.
        lines: stream and line, stdout first; clean.
        problem: why the file cannot be read, None where it could.
    """

    path: str
    lines: tuple[tuple[str, str], ...]
    problem: str | None = None


def error_tail(run: RunDir, index: int, stage: str, count: int = TAIL_LINES_COUNT) -> ErrorTail:
    """Read the last lines of a failed stage.

    Args:
        run: the run's files.
        index: the stage's place, from 1.
        stage: its id.
        count: how many lines of each stream.

    Raises:
        BadIdError: the id is none: the record was edited.
    """
    # Where it is follows from the run and the stage, whatever path the manifest names.
    path = run.error_file(index, check_id("stage", stage))
    try:
        details = JsonReader(read_object(path), path).child("details")
        streams = {stream: details.text(stream) for stream in ("stdout", "stderr")}
    except (OSError, TypedError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        return ErrorTail(path, (), f"{os.path.basename(path)}: {why}")
    return ErrorTail(
        path,
        tuple(
            (stream, line)
            for stream, text in streams.items()
            for line in clean(text).splitlines()[-count:]
        ),
    )
