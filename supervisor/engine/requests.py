"""Taking requests from the inbox: each done once, a bad one set aside, none in the way."""

import contextlib
import os
from dataclasses import dataclass, field

from supervisor.core import stimuli
from supervisor.core.stimuli import Stimulus
from supervisor.engine.parts import Parts
from workers.records.errors import TypedError
from workers.records.request import Request, RequestKind, load_request, request_paths


@dataclass(slots=True)
class Taken:
    """What one look into the inbox gave.

    Attributes:
        found: what the core is told.
        done: request files to remove once the core's actions were performed.
        leave: a stop request asked us to leave the workers running.
        refused_count: requests for runs that could not be put on disk and never will be so.
    """

    found: list[Stimulus] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    leave: bool = False
    refused_count: int = 0

    def finish(self) -> None:
        """Remove the requests whose outcome is on disk."""
        for path in self.done:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def take(parts: Parts) -> Taken:
    """Look into the inbox once, oldest request first."""
    taken = Taken()
    for path in request_paths(parts.layout):
        try:
            try:
                request = load_request(path)
            except TypedError as error:
                _set_aside(parts, path, error)
                continue
            try:
                _do(parts, request, taken)
            except TypedError as error:
                _set_aside(parts, path, error)
                taken.refused_count += 1
                continue
        except FileNotFoundError:
            continue
        except OSError as error:
            parts.log.write("request_postponed", path=path, why=str(error))
            break  # the disk refuses: this one and those behind it are tried again at the next look
        taken.done.append(path)
    return taken


def _set_aside(parts: Parts, path: str, error: TypedError) -> None:
    parts.log.write("request_rejected", path=parts.intake.reject(path), why=str(error))
    parts.reporter.note(f"a request was set aside: {error}")


def _do(parts: Parts, request: Request, taken: Taken) -> None:
    match request.kind:
        case RequestKind.RUNS:
            for reader in parts.intake.accept(request.runs):
                spec = reader.spec
                parts.readers[spec.run_id] = reader
                parts.log.write("run_accepted", run_id=spec.run_id, task_id=spec.task_id)
                parts.reporter.accepted(spec)
                taken.found.append(
                    stimuli.Accepted(
                        run_id=spec.run_id,
                        task_id=spec.task_id,
                        parent_run_id=spec.parent_run_id,
                        waited_for=spec.asked_by == "run",
                    )
                )
        case RequestKind.CANCEL:
            detail = request.detail or "cancelled-by-user"
            taken.found += [stimuli.CancelAsked(run_id, detail) for run_id in request.run_ids]
        case RequestKind.STOP:
            if request.supervisor == parts.mine:
                taken.leave = taken.leave or request.leave_running
                if not request.leave_running:
                    taken.found.append(stimuli.StopAsked())
