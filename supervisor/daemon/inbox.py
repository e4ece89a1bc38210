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


def take(context: DaemonContext, *, whole: bool) -> Taken:
    """Look into the inbox once, oldest request first.

    Args:
        context: the effects and the books.
        whole: put all runs on disk at once, however many.
    """
    taken = Taken()
    half, context.half_taken = context.half_taken, None  # where it goes wrong it begins anew
    touched_ns = context.watcher.touched_ns()
    try:
        paths, hinted_ids = list_inbox(context.layout)
    except OSError as error:
        context.log.write("inbox_unreadable", why=str(error))
        taken.postponed = str(error)
        return taken
    context.watcher.listed(touched_ns, is_empty=not (paths or hinted_ids))
    for run_id in hinted_ids:  # before the run is checked: what comes later gives a new hint
        with contextlib.suppress(OSError):
            os.unlink(context.layout.hint(run_id))
    for run_id in hinted_ids:
        if (handle := context.runs.get(run_id)) is not None:
            taken.found += handle.launcher.check(handle)
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
                end = _accept(context, request, taken, begin=begin, whole=whole)
                if end < len(request.runs):
                    context.half_taken = HalfTaken(path, request, end)
                    break  # what is behind it waits: it may be about these runs
            else:
                _do(context, request, taken)
        except FileNotFoundError:
            continue
        except NewerRecordError as error:  # acknowledged: it waits for a version that can read it
            _keep(context, path, error)
            continue
        except TypedError as error:
            _reject(context, path, error)
            taken.refused_count += request is not None
            continue
        except OSError as error:
            context.log.write("request_postponed", path=path, why=str(error))
            taken.postponed = str(error)
            if request is None or error.errno not in (errno.EACCES, errno.EPERM):
                break  # the disk refuses: this one and those behind it wait for the next look
            held |= {spec.run_id for spec in request.runs}  # one task is closed; others are not
        taken.done.append(path)
    return taken


def _keep(context: DaemonContext, path: str, why: NewerRecordError) -> None:
    if path not in context.kept_requests:
        context.kept_requests.add(path)
        context.log.write("request_kept", path=path, why=str(why))
        context.reporter.note(f"a request stays in the inbox: {why}")


def _reject(context: DaemonContext, path: str, why: TypedError) -> None:
    try:
        moved = context.intake.reject(path)
    except OSError as error:
        context.log.write("request_postponed", path=path, why=str(error))
        return
    context.log.write("request_rejected", path=moved, why=str(why))
    context.reporter.note(f"a request was set aside: {why}")


def _accept(
    context: DaemonContext, request: Request, taken: Taken, *, begin: int, whole: bool
) -> int:
    """Put the next runs of a request on disk; all where their priorities differ.

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
        taken.found.append(accepted(context, spec))
    return end


def _do(context: DaemonContext, request: Request, taken: Taken) -> None:
    match request.kind:
        case RequestKind.CANCEL:
            detail = request.detail or "cancelled-by-user"
            taken.found += [stimuli.CancelRequested(run_id, detail) for run_id in request.run_ids]
        case RequestKind.STOP:
            if request.supervisor == context.mine:
                taken.leave = taken.leave or request.leave_running
                if not request.leave_running:
                    taken.found.append(stimuli.StopRequested())
        case RequestKind.DRAIN:
            if request.supervisor == context.mine:
                context.reporter.note("draining: what runs may end, what is queued stays queued")
                taken.found.append(stimuli.DrainRequested())
        case RequestKind.PAUSE:
            at = request.at or now_text()
            _hold(context, context.pause_file.pauses.paused(request.group, at=at), request, taken)
        case RequestKind.RESUME:
            _hold(context, context.pause_file.pauses.resumed(request.group), request, taken)


def _hold(context: DaemonContext, pauses: Pauses, request: Request, taken: Taken) -> None:
    """Put what is paused on disk, and tell."""
    if pauses == context.pause_file.pauses and context.pause_file.is_on_disk():
        return
    context.pause_file.store(pauses)
    context.log.write(f"{request.kind}d", group=request.group)
    what = "everything" if request.group is None else f"group {request.group}"
    context.reporter.note(f"{what} is {request.kind}d")
    taken.found.append(stimuli.PausesChanged(pauses))
