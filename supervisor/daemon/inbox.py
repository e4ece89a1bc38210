"""Requests in the inbox: each is done once; a bad one is quarantined and delays no other.

A request for many runs is accepted a few runs per turn, so that the first ones start while the
others are written. It stays in the inbox until its last run is on disk: after a crash it is done
again from its beginning, and accepted runs are left as they are.
"""

import contextlib
import errno
import os
from dataclasses import dataclass, field
from typing import Final

from supervisor.core import stimuli
from supervisor.core.pauses import Pauses
from supervisor.core.stimuli import Stimulus
from supervisor.daemon.context import DaemonContext, PartialRequest
from supervisor.daemon.observe import accepted_run
from workers.records.request import Request, RequestKind, list_inbox, load_request, now_text
from workers.records.typed_errors import NewerRecordError, TypedError

SHARE_RUNS_COUNT: Final = 16  # accepting a run takes 1 ms, during which nothing else happens


@dataclass(slots=True)
class InboxResult:
    """The result of one pass through the inbox.

    Attributes:
        events: stimuli for the core.
        done: request files to remove once the core's actions were performed.
        leaves_running: a stop request said to exit and leave the workers running.
        refused_count: requests for runs that can never be put on disk.
        postponed: why a request stays in the inbox, None if none does.
    """

    events: list[Stimulus] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    leaves_running: bool = False
    refused_count: int = 0
    postponed: str | None = None

    def finish(self) -> None:
        """Remove the requests whose outcome is on disk, in order.

        If the disk refuses one, it and those after it are done again by the next pass: the same
        requests in the same order change nothing.
        """
        for path in self.done:
            try:
                os.unlink(path)
            except FileNotFoundError:
                continue
            except OSError:
                return


def take_requests(context: DaemonContext, *, whole: bool) -> InboxResult:
    """Pass through the inbox once, oldest request first; ``whole``: all runs of each request."""
    result = InboxResult()
    partial, context.partial_request = context.partial_request, None  # an error restarts it
    try:
        paths, hinted_ids = list_inbox(context.layout)
    except OSError as error:
        context.log.write("inbox_unreadable", why=str(error))
        result.postponed = str(error)
        return result
    for run_id in hinted_ids:  # before the run is checked: a later event gives a new hint
        with contextlib.suppress(OSError):
            os.unlink(context.layout.hint(run_id))
    for run_id in hinted_ids:
        if (handle := context.runs.get(run_id)) is not None:
            result.events += handle.launcher.check(handle)
    postponed_ids: set[str] = set()  # a cancellation of such a run waits behind it
    for path in paths:
        request = None
        try:
            known = partial if partial is not None and partial.path == path else None
            request = load_request(path) if known is None else known.request
            if postponed_ids.intersection(request.run_ids):
                continue
            if request.kind is RequestKind.RUNS:
                begin = 0 if known is None else known.accepted_count
                end = _accept(context, request, result, begin=begin, whole=whole)
                if end < len(request.runs):
                    context.partial_request = PartialRequest(path, request, end)
                    break  # later requests may be about these runs
            else:
                _do(context, request, result)
        except FileNotFoundError:
            continue
        except NewerRecordError as error:  # acknowledged: it waits for a version that can read it
            _leave(context, path, error)
            continue
        except TypedError as error:
            _reject(context, path, error)
            result.refused_count += request is not None
            continue
        except OSError as error:
            context.log.write("request_postponed", path=path, why=str(error))
            result.postponed = str(error)
            if request is None or error.errno not in (errno.EACCES, errno.EPERM):
                break  # the disk refuses: this request and later ones wait for the next pass
            # One task's directory is closed; other tasks continue.
            postponed_ids |= {spec.run_id for spec in request.runs}
        result.done.append(path)
    return result


def _leave(context: DaemonContext, path: str, error: NewerRecordError) -> None:
    if path not in context.newer_requests:
        context.newer_requests.add(path)
        context.log.write("request_kept", path=path, why=str(error))
        context.reporter.note(f"a request stays in the inbox: {error}")


def _reject(context: DaemonContext, path: str, error: TypedError) -> None:
    try:
        moved = context.intake.reject(path)
    except OSError as refusal:
        context.log.write("request_postponed", path=path, why=str(refusal))
        return
    context.log.write("request_rejected", path=moved, why=str(error))
    context.reporter.note(f"a request was quarantined: {error}")


def _accept(
    context: DaemonContext, request: Request, result: InboxResult, *, begin: int, whole: bool
) -> int:
    """Put the next runs of a request on disk; all of them if their priorities differ.

    Returns:
        How many of them are on disk now.
    """
    end = len(request.runs)
    if not whole and len({spec.priority for spec in request.runs}) == 1:
        end = min(end, begin + SHARE_RUNS_COUNT)
    share = request.runs[begin:end]
    for reader in context.intake.accept([s for s in share if s.run_id not in context.runs]):
        spec = reader.spec
        context.add(reader)
        context.log.write("run_accepted", run_id=spec.run_id, task_id=spec.task_id)
        context.reporter.accepted(spec)
        result.events.append(accepted_run(context, spec))
    return end


def _do(context: DaemonContext, request: Request, result: InboxResult) -> None:
    is_for_us = request.supervisor == context.identity
    match request.kind:
        case RequestKind.CANCEL:
            detail = request.detail or "cancelled-by-user"
            result.events += [stimuli.CancelRequested(run_id, detail) for run_id in request.run_ids]
        case RequestKind.STOP if is_for_us:
            if request.leave_running:
                result.leaves_running = True
            else:
                result.events.append(stimuli.StopRequested())
        case RequestKind.DRAIN if is_for_us:
            context.reporter.note("draining: running runs may finish, queued runs stay queued")
            result.events.append(stimuli.DrainRequested())
        case RequestKind.PAUSE:
            at = request.at or now_text()
            pauses = context.pause_file.pauses.paused(request.group, at=at)
            result.events += _change_pauses(context, pauses, request)
        case RequestKind.RESUME:
            pauses = context.pause_file.pauses.resumed(request.group)
            result.events += _change_pauses(context, pauses, request)


def _change_pauses(context: DaemonContext, pauses: Pauses, request: Request) -> list[Stimulus]:
    if pauses == context.pause_file.pauses and context.pause_file.is_on_disk():
        return []
    context.pause_file.store(pauses)
    context.log.write(f"{request.kind}d", group=request.group)
    scope = "everything" if request.group is None else f"group {request.group}"
    context.reporter.note(f"{scope} is {request.kind}d")
    return [stimuli.PausesChanged(pauses)]
