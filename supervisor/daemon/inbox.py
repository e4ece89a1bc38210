"""Taking requests from the inbox: each done once, a bad one set aside, none in the way.

A request for many runs is done a few runs at a time, so that the first of them start while the
others are put on disk. It stays in the inbox until the last one is, so whatever happens meanwhile,
it is done again from its beginning, and what is accepted is left as it is.
"""

import contextlib
import errno
import os
from dataclasses import dataclass, field
from typing import Final

from supervisor.core import stimuli
from supervisor.core.pauses import Pauses
from supervisor.core.stimuli import Stimulus
from supervisor.daemon import placements
from supervisor.daemon.context import DaemonContext, HalfTaken
from supervisor.daemon.past_dependencies import accepted
from workers.records.request import Request, RequestKind, list_inbox, load_request, now_text
from workers.records.typed_errors import NewerRecordError, TypedError

SHARE_RUNS_COUNT: Final = 16  # a run takes a millisecond: so long nobody else is looked after


@dataclass(slots=True)
class Taken:
    """What one look into the inbox gave.

    Attributes:
        found: what the core is told.
        done: request files to remove once the core's actions were performed.
        leave: a stop request asked us to leave the workers running.
        refused_count: requests for runs that could not be put on disk and never will be so.
        postponed: why a request could not be done and stays in the inbox, None where all were.
    """

    found: list[Stimulus] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    leave: bool = False
    refused_count: int = 0
    postponed: str | None = None

    def finish(self) -> None:
        """Remove the requests whose outcome is on disk, in order.

        One that the disk refuses to remove is done again at the next look, and so are those behind
        it: the same ones in the same order change nothing.
        """
        for path in self.done:
            try:
                os.unlink(path)
            except FileNotFoundError:
                continue
            except OSError:
                return


def take(parts: DaemonContext, *, whole: bool) -> Taken:
    """Look into the inbox once, oldest request first.

    Args:
        parts: the effects and the books.
        whole: put all runs on disk at once, however many.
    """
    taken = Taken()
    half, parts.half_taken = parts.half_taken, None  # where it goes wrong it begins anew
    touched_ns = parts.watcher.touched_ns()
    try:
        paths, hinted_ids = list_inbox(parts.layout)
    except OSError as error:
        parts.log.write("inbox_unreadable", why=str(error))
        taken.postponed = str(error)
        return taken
    parts.watcher.listed(touched_ns, is_empty=not (paths or hinted_ids))
    for run_id in hinted_ids:  # before the run is checked: what comes later gives a new hint
        with contextlib.suppress(OSError):
            os.unlink(parts.layout.hint(run_id))
    taken.found += placements.hinted(parts, hinted_ids)
    held: set[str] = set()  # runs that are postponed; who cancels one waits behind it
    for path in paths:
        request = None
        try:
            known = half if half is not None and half.path == path else None
            request = load_request(path) if known is None else known.request
            if held.intersection(request.run_ids):
                continue
            if request.kind is RequestKind.RUNS:
                begin = 0 if known is None else known.accepted_count
                end = _accept(parts, request, taken, begin=begin, whole=whole)
                if end < len(request.runs):
                    parts.half_taken = HalfTaken(path, request, end)
                    break  # what is behind it waits: it may be about these runs
            else:
                _do(parts, request, taken)
        except FileNotFoundError:
            continue
        except NewerRecordError as error:  # acknowledged: it waits for a version that can read it
            _keep(parts, path, error)
            continue
        except TypedError as error:
            _reject(parts, path, error)
            taken.refused_count += request is not None
            continue
        except OSError as error:
            parts.log.write("request_postponed", path=path, why=str(error))
            taken.postponed = str(error)
            if request is None or error.errno not in (errno.EACCES, errno.EPERM):
                break  # the disk refuses: this one and those behind it wait for the next look
            held |= {spec.run_id for spec in request.runs}  # one task is closed; others are not
        taken.done.append(path)
    return taken


def _keep(parts: DaemonContext, path: str, why: NewerRecordError) -> None:
    if path not in parts.kept_requests:
        parts.kept_requests.add(path)
        parts.log.write("request_kept", path=path, why=str(why))
        parts.reporter.note(f"a request stays in the inbox: {why}")


def _reject(parts: DaemonContext, path: str, why: TypedError) -> None:
    try:
        moved = parts.intake.reject(path)
    except OSError as error:
        parts.log.write("request_postponed", path=path, why=str(error))
        return
    parts.log.write("request_rejected", path=moved, why=str(why))
    parts.reporter.note(f"a request was set aside: {why}")


def _accept(
    parts: DaemonContext, request: Request, taken: Taken, *, begin: int, whole: bool
) -> int:
    """Put the next runs of a request on disk; all where their priorities differ.

    Returns:
        How many of them are on disk now.
    """
    end = len(request.runs)
    if not whole and len({spec.priority for spec in request.runs}) == 1:
        end = min(end, begin + SHARE_RUNS_COUNT)
    share = request.runs[begin:end]
    for reader in parts.intake.accept([s for s in share if s.run_id not in parts.readers]):
        spec = reader.spec
        parts.readers[spec.run_id] = reader
        parts.log.write("run_accepted", run_id=spec.run_id, task_id=spec.task_id)
        parts.reporter.accepted(spec)
        taken.found.append(accepted(parts, spec))
    return end


def _do(parts: DaemonContext, request: Request, taken: Taken) -> None:
    match request.kind:
        case RequestKind.CANCEL:
            detail = request.detail or "cancelled-by-user"
            taken.found += [stimuli.CancelAsked(run_id, detail) for run_id in request.run_ids]
        case RequestKind.STOP:
            if request.supervisor == parts.mine:
                taken.leave = taken.leave or request.leave_running
                if not request.leave_running:
                    taken.found.append(stimuli.StopAsked())
        case RequestKind.DRAIN:
            if request.supervisor == parts.mine:
                parts.reporter.note("draining: what runs may end, what is queued stays queued")
                taken.found.append(stimuli.DrainAsked())
        case RequestKind.PAUSE:
            at = request.at or now_text()
            _hold(parts, parts.holds.now.paused(request.group, at=at), request, taken)
        case RequestKind.RESUME:
            _hold(parts, parts.holds.now.resumed(request.group), request, taken)


def _hold(parts: DaemonContext, holds: Pauses, request: Request, taken: Taken) -> None:
    """Put what is paused on disk, and tell."""
    if holds == parts.holds.now and parts.holds.is_on_disk():
        return
    parts.holds.store(holds)
    parts.log.write(f"{request.kind}d", group=request.group)
    what = "everything" if request.group is None else f"group {request.group}"
    parts.reporter.note(f"{what} is {request.kind}d")
    taken.found.append(stimuli.PausesChanged(holds))
