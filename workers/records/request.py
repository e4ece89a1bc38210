"""inbox/: requests from operators, and from workers with sub-pipelines, to the supervisor.

A request is one JSON file. It is written, flushed and renamed into the inbox; once the rename is
flushed too, the request is accepted. The supervisor takes requests in the order of their names,
executes each exactly once (requesters choose run ids, so repeating a request changes nothing) and
removes the file when the outcome is on disk. Kinds::

    runs    {"runs": [spec, ...], "batch": key or null}   create these runs
    cancel  {"run_ids": [...], "detail": "cancelled-by-user"}
    stop    {"supervisor": identity, "leave_running": bool}   addressed to one process only
    drain   {"supervisor": identity}   likewise: finish running runs, then exit
    pause   {"group": name or null, "at": instant}   start no runs of a group, or none at all
    resume  {"group": name or null}   remove that pause, or all of them

An empty file ``.<run-id>.hint`` requests nothing: the process that hosts a run creates it when the
run has begun or ended, so that the supervisor need not wait for its next scan.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from typing import Any, Final

from workers.records.atomic import replace_file, to_bytes
from workers.records.clock import epoch_of, utc_text
from workers.records.dataclass import dataclass
from workers.records.files import FILE_MODE, make_private, parse_object, read_bytes
from workers.records.identity import Identity
from workers.records.ids import is_run_id, new_run_id, run_id_instant
from workers.records.json_reader import JsonReader, check_schema, read_record, to_plain
from workers.records.layout import Layout
from workers.records.limits import RECORD_LIMIT_BYTES
from workers.records.spec import RunSpec, check_runnable, parse_spec
from workers.records.typed_errors import BadFileError, BadRecordError, RequestTooLargeError

SCHEMA: Final = "pipeline-supervisor/request/1"
_HINT: Final = ".hint"
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class RequestKind(StrEnum):
    """What is requested."""

    RUNS = "runs"
    CANCEL = "cancel"
    STOP = "stop"
    DRAIN = "drain"
    PAUSE = "pause"
    RESUME = "resume"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request; only the fields of its kind are set.

    Attributes:
        runs: the runs to create.
        batch: key of the batch that the runs belong to.
        run_ids: the runs to cancel.
        detail: the status_detail of a cancelled run.
        supervisor: the process that must stop; no other one obeys.
        leave_running: stop, but leave the workers for the next start to adopt.
        group: the group to pause or resume; None means everything.
        at: when a pause was requested, RFC 3339 UTC.
    """

    kind: RequestKind
    runs: tuple[RunSpec, ...] = ()
    batch: str | None = None
    run_ids: tuple[str, ...] = ()
    detail: str | None = None
    supervisor: Identity | None = None
    leave_running: bool = False
    group: str | None = None
    at: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The content of the file."""
        rest = to_plain(replace(self, runs=()))
        return {"schema": SCHEMA, **rest, "runs": [spec.to_json() for spec in self.runs]}

    @staticmethod
    def from_json(data: dict[str, Any], path: str) -> "Request":
        """Read the content of the file; raises BadRecordError if it is not a request."""
        check_schema(data, SCHEMA, path)
        read = JsonReader(data, path)
        kind = read.text("kind")
        if kind not in tuple(RequestKind):
            raise read.bad("kind", "must be one of " + ", ".join(RequestKind))
        run_ids = read.texts("run_ids")
        if not all(is_run_id(run_id) for run_id in run_ids):
            raise read.bad("run_ids", "must be a list of run ids")
        supervisor = read.child_or_none("supervisor")
        return read_record(
            Request,
            read,
            kind=RequestKind(kind),
            runs=tuple(_runnable(item, path) for item in read.objects("runs")),
            run_ids=run_ids,
            supervisor=None if supervisor is None else Identity.from_fields(supervisor),
        )


def _runnable(data: dict[str, Any], path: str) -> RunSpec:
    """Read the spec of a requested run, which must be runnable, unlike one on record."""
    spec = parse_spec(data, path)
    check_runnable(spec, path)
    return spec


def publish(layout: Layout, request: Request) -> str:
    """Submit a request.

    Returns:
        The file's path. The request is durable and accepted.

    Raises:
        RequestTooLargeError: it is larger than RECORD_LIMIT_BYTES.
        BadFileError: the inbox or a directory above it is not ours.
        OSError: it could not be written; nothing was accepted.
    """
    data = to_bytes(request.to_json())
    if len(data) > RECORD_LIMIT_BYTES:
        raise RequestTooLargeError(bytes=len(data), limit=RECORD_LIMIT_BYTES)
    make_private(layout.runs, layout.control, layout.inbox)
    name = new_run_id(epoch_s=_next_epoch_s(layout), entropy=os.urandom(4))
    path = os.path.join(layout.inbox, f"{name}.json")
    replace_file(path, data)
    return path


def _next_epoch_s(layout: Layout) -> float:
    """The time for a new request's name, after those of all waiting requests.

    Requests are taken in the order of their names: after a clock was set back, a cancellation must
    not overtake the runs that it cancels.
    """
    now_s = time.time()
    waiting = request_paths(layout)
    if not waiting:
        return now_s
    newest = os.path.basename(waiting[-1]).removesuffix(".json")
    with contextlib.suppress(ValueError):  # the file is not a request
        if is_run_id(newest):
            # Names have milliseconds; 0.001 could be lost when the sum is cut to them.
            return max(now_s, epoch_of(run_id_instant(newest)) + 0.0015)
    return now_s


def request_paths(layout: Layout) -> list[str]:
    """The files of the inbox that may be requests, in the order of their names."""
    return list_inbox(layout)[0]


def list_inbox(layout: Layout) -> tuple[list[str], list[str]]:
    """List the inbox once.

    Returns:
        The files that may be requests, in the order of their names, and the ids of the runs that
        have a hint.

    Raises:
        OSError: the directory cannot be listed.
    """
    try:
        names = sorted(os.listdir(layout.inbox))
    except (FileNotFoundError, NotADirectoryError):
        return [], []
    requests, hinted = [], []
    for name in names:
        if name.startswith("."):
            if name.endswith(_HINT) and is_run_id(run_id := name[1 : -len(_HINT)]):
                hinted.append(run_id)
        elif name.endswith(".json"):
            requests.append(os.path.join(layout.inbox, name))
    return requests, hinted


def write_hint(layout: Layout, run_id: str) -> None:
    """Ask the supervisor to check a run before its next scan; a lost hint does no harm."""
    with contextlib.suppress(OSError):
        os.close(os.open(layout.hint(run_id), _CREATE, FILE_MODE))


def load_request(path: str) -> Request:
    """Read one request, which must belong to the owner of the inbox alone.

    Raises:
        FileNotFoundError: it does not exist.
        BadFileError: it is not a regular file, is another user's, or may not be read.
        NewerRecordError: a later version wrote it, or a run in it.
        BadRecordError: it is not a request.
    """
    owner_uid = os.stat(os.path.dirname(path)).st_uid
    try:
        data = read_bytes(path, owner_uid=owner_uid)
    except PermissionError as error:
        raise BadFileError(path=path, reason=f"cannot be read ({error.strerror})") from None
    return Request.from_json(parse_object(data, path), path)


def pending_requests(layout: Layout) -> Iterator[Request]:
    """The requests that no supervisor has taken yet; skips those that cannot be read."""
    for path in request_paths(layout):
        with contextlib.suppress(OSError, BadRecordError, BadFileError):
            yield load_request(path)


def now_text() -> str:
    """The current time in the form of records."""
    return utc_text(time.time())
