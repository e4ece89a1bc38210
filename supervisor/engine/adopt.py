"""What a start finds: every accepted run is taken up where it stands, whatever happened before.

The markers are walked, never the directories of finished runs. A run with a living worker is
adopted, one whose worker is gone is lost, one that never began is queued again, one with a verdict
is recorded, once. Doing all this again changes nothing.
"""

import os

from supervisor.core import stimuli
from supervisor.core.stimuli import Stimulus
from supervisor.edge.flock import is_flocked
from supervisor.edge.proctable import living_pidfd
from supervisor.edge.run_reader import RunReader
from supervisor.edge.spawner import LaunchedWorker
from supervisor.engine.observe import facts, verdict
from supervisor.engine.parts import Parts
from workers.records.errors import TypedError
from workers.records.files import read_object
from workers.records.ids import is_run_id, why_bad
from workers.records.journal import Event
from workers.records.request import now_text, pending_requests
from workers.records.spec import PipelineSpec, RunSpec, load_spec


def recover(parts: Parts) -> list[Stimulus]:
    """Take up every accepted run.

    Returns:
        Stimuli in the order of acceptance, since run ids sort by time.
    """
    swept_count = parts.intake.sweep()
    if swept_count:
        parts.log.write("swept", files_count=swept_count)
    found: list[Stimulus] = []
    asked = {spec.run_id for r in pending_requests(parts.layout) for spec in r.runs}
    for name in sorted(os.listdir(parts.layout.accepted)):
        if not is_run_id(name):
            parts.log.write("foreign_marker", name=name)
            continue
        task_id = _task_of(parts, name)
        if task_id is None or (
            name in asked and not os.path.isdir(parts.layout.run_dir(task_id, name).path)
        ):
            os.unlink(parts.layout.marker(name))  # its request, still there, makes it anew
            continue
        found += _take_up(parts, task_id, name)
    return found


def _task_of(parts: Parts, run_id: str) -> str | None:
    """The task that a marker names; a marker torn by a loss of power is looked up instead."""
    with open(parts.layout.marker(run_id), encoding="utf-8", errors="replace") as file:
        task_id = file.read(200).strip()
    if why_bad(task_id) is None:
        return task_id
    for name in os.listdir(parts.layout.runs):
        if why_bad(name) is None and os.path.isdir(parts.layout.run_dir(name, run_id).path):
            return name
    return None


def _take_up(parts: Parts, task_id: str, run_id: str) -> list[Stimulus]:
    spec = _spec(parts, task_id, run_id)
    run, layout = parts.layout.run_dir(task_id, run_id), parts.layout
    parts.intake.sweep_files(
        run.path, run.errors, layout.task_dir(task_id), layout.out_dir(task_id)
    )
    reader = RunReader(parts.layout, spec)
    parts.readers[run_id] = reader
    about = stimuli.Accepted(
        run_id=run_id,
        task_id=task_id,
        parent_run_id=spec.parent_run_id,
        waited_for=spec.asked_by == "run",
    )
    seen = facts(parts, run_id)
    started = any(fact.event == Event.RUN_STARTED for fact in reader.facts)
    if reader.verdict is not None:
        parts.persistence.recovered(task_id)
        return [about, verdict(run_id, parts)]
    if any(isinstance(s, stimuli.DirectoryGone) for s in seen):
        return [about, stimuli.DirectoryGone(run_id)]
    if is_flocked(reader.run.owner):
        _watch(parts, run_id)
        parts.log.write("run_adopted", run_id=run_id)
        parts.reporter.adopted(spec)
        return [stimuli.Adopted(about, started), *_cancelled(reader)]
    if started:
        reason = "its worker ended without a verdict while no supervisor was up"
        return [
            stimuli.Adopted(about, True),
            *_cancelled(reader),
            stimuli.WorkerGone(run_id, reason),
        ]
    return [about]


def _spec(parts: Parts, task_id: str, run_id: str) -> RunSpec:
    """The run's spec, or the little that its marker tells where the spec is gone or damaged."""
    path = parts.layout.run_dir(task_id, run_id).spec
    try:
        spec = load_spec(path)
    except (OSError, TypedError) as error:
        parts.log.write("spec_unreadable", run_id=run_id, why=str(error))
    else:
        if (spec.task_id, spec.run_id) == (task_id, run_id):
            return spec
        parts.log.write("spec_of_another_run", run_id=run_id, says=spec.run_id)
    return RunSpec(
        run_id=run_id,
        task_id=task_id,
        pipeline=PipelineSpec(id="unknown", title="unknown", stages=()),
        asked_by="unknown",
        asked_at=now_text(),
        resume_token="",
    )


def _watch(parts: Parts, run_id: str) -> None:
    worker = parts.worker_identity(run_id)
    if worker is None:
        return
    pidfd = living_pidfd(worker)
    if pidfd is not None:
        parts.workers[run_id] = LaunchedWorker(
            pid=worker.pid, start_ticks=worker.start_ticks, pidfd=pidfd
        )


def _cancelled(reader: RunReader) -> list[Stimulus]:
    """An earlier supervisor had already asked the worker to end."""
    try:
        detail = read_object(reader.run.cancel).get("detail")
    except (OSError, TypedError):
        return []
    return [stimuli.CancelAsked(reader.spec.run_id, str(detail or "stopped"))]
