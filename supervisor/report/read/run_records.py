"""Read the records of runs, and what the inbox adds to them. Never repairs, locks or writes."""

import contextlib
import os
from collections.abc import Collection, Iterator
from typing import Any, Final

from supervisor.core.pauses import Pauses
from supervisor.report.text.sanitize import clean
from supervisor.store.pause_file import pauses_in_force
from supervisor.store.root_listing import tasks
from workers.records.dataclass import dataclass
from workers.records.files import read_object
from workers.records.heartbeat import last_beat
from workers.records.ids import id_problem, is_run_id
from workers.records.journal import Fact, read_journal
from workers.records.json_reader import JsonReader
from workers.records.layout import Layout, RunDir
from workers.records.manifest import FINAL, Observed, fold_manifest
from workers.records.manifest_check import check_manifest
from workers.records.placement import CALLER
from workers.records.request import RequestKind, now_text, pending_requests
from workers.records.spec import RunSpec, load_spec
from workers.records.typed_errors import BadRecordError, NewerRecordError, TypedError

TAIL_LINES_COUNT: Final = 10  # of each stream, so that the rest of the report fits on a screen
_INSTANT_CHARS = len("2025-10-31T22-56-34-431Z")  # the beginning of a run id


def pending_specs(layout: Layout) -> Iterator[RunSpec]:
    """The submitted runs in the inbox that have no directory yet."""
    for request in pending_requests(layout):
        for spec in request.runs:
            if not os.path.isdir(layout.run_dir(spec.task_id, spec.run_id).path):
                yield spec


def current_pauses(layout: Layout) -> Pauses:
    """What is paused, requests in the inbox included; everything if paused.json is damaged.

    Raises:
        NewerRecordError, OSError: paused.json cannot be read.
    """
    pauses, _ = pauses_in_force(layout)
    for request in pending_requests(layout):
        if request.kind is RequestKind.PAUSE:
            pauses = pauses.paused(request.group, at=request.at or now_text())
        elif request.kind is RequestKind.RESUME:
            pauses = pauses.resumed(request.group)
    return pauses


def load_manifest(layout: Layout, task_id: str, run_id: str) -> dict[str, Any]:
    """A run's manifest as it is now: a final one from the disk, else folded from the journal.

    Raises:
        NewerRecordError: a later version wrote it.
        BadRecordError, BadFileError: neither manifest nor spec can be read.
        OSError: the directory does not exist or cannot be read.
    """
    run = layout.run_dir(task_id, run_id)
    on_disk: dict[str, Any] = {}
    try:
        on_disk = read_object(run.manifest)
        check_manifest(on_disk, run.manifest, task_id=task_id, run_id=run_id)
    except NewerRecordError:
        raise
    except (FileNotFoundError, TypedError):
        pass  # the journal has everything
    else:
        if on_disk["status"] in FINAL:
            return on_disk
    spec = load_spec(run.spec)
    if (spec.task_id, spec.run_id) != (task_id, run_id):
        reason = f"is of run {spec.run_id} of task {spec.task_id}"
        raise BadRecordError(path=run.spec, reason=reason)
    return fold_journal(layout, spec, _warnings(on_disk))


def manifest_now(layout: Layout, task_id: str, run_id: str) -> dict[str, Any]:
    """As ``load_manifest``, but also for a run that is still in the inbox."""
    try:
        return load_manifest(layout, task_id, run_id)
    except FileNotFoundError:
        for spec in pending_specs(layout):
            if spec.run_id == run_id:
                return fold_journal(layout, spec)
        return load_manifest(layout, task_id, run_id)  # it was accepted in between


def fold_journal(
    layout: Layout, spec: RunSpec, warnings: tuple[dict[str, Any], ...] = ()
) -> dict[str, Any]:
    """Fold a run's journal into a manifest; ``warnings`` of the one on disk are added."""
    run = layout.run_dir(spec.task_id, spec.run_id)
    facts: list[Fact] = []
    beat = None
    with contextlib.suppress(OSError, TypedError):
        facts = read_journal(run.journal)
        beat = last_beat(run.heartbeat)
    observed = Observed(updated_at=now_text(), heartbeat_at=beat)
    manifest = fold_manifest(spec, facts, layout=layout, observed=observed)
    known = manifest["extensions"]["warnings"]
    known += [warning for warning in warnings if warning not in known]
    return manifest


def _warnings(manifest: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    extensions = manifest.get("extensions")
    warnings = extensions.get("warnings") if isinstance(extensions, dict) else None
    return tuple(w for w in warnings if isinstance(w, dict)) if isinstance(warnings, list) else ()


def finished_in_batch(
    layout: Layout, batch: str, rounds: Collection[str]
) -> Iterator[tuple[str, str, str, str | None]]:
    """The finished runs of some rounds of a batch, without child runs.

    Args:
        layout: the root.
        batch: the batch's key.
        rounds: the rounds' ``asked_at``; older runs are not read.

    Yields:
        Task id, run id, status and status_detail of each run that can be read.
    """
    if not rounds:
        return
    first = min(rounds).replace(":", "-").replace(".", "-")
    for task_id in tasks(layout):
        with contextlib.suppress(OSError):
            for run_id in sorted(os.listdir(layout.runs_of(task_id))):
                if not is_run_id(run_id) or run_id[:_INSTANT_CHARS] < first:
                    continue
                with contextlib.suppress(OSError, TypedError):
                    spec = load_spec(layout.run_dir(task_id, run_id).spec)
                    if spec.batch != batch or spec.asked_at not in rounds:
                        continue
                    manifest = load_manifest(layout, task_id, run_id)
                    if manifest["status"] in FINAL:
                        yield task_id, run_id, manifest["status"], manifest["status_detail"]


def environment_sources(spec: RunSpec) -> str:
    """One line that says where the stages' environment comes from: variable names, no values."""
    parts = ["the caller's" if spec.launcher == CALLER else "the supervisor's"]
    given = [name for name, _ in spec.env]
    pairs = [*spec.pipeline.env, *(pair for stage in spec.pipeline.stages for pair in stage.env)]
    if written := [name for name in dict.fromkeys(name for name, _ in pairs) if name not in given]:
        parts.append(f"{', '.join(written)} (pipeline)")
    if given:
        parts.append(f"{', '.join(given)} (--env)")
    return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class ErrorTail:
    """The last lines of a failed stage's output.

    Attributes:
        path: the error file.
        lines: stream and line, stdout first; clean.
        problem: why the file cannot be read; None if it can.
    """

    path: str
    lines: tuple[tuple[str, str], ...]
    problem: str | None = None


def error_tail(run: RunDir, index: int, stage: str) -> ErrorTail:
    """Read the last lines of a failed stage, TAIL_LINES_COUNT of each stream.

    Args:
        run: the run's files.
        index: the stage's number in its pipeline, from 1.
        stage: its id.
    """
    if id_problem(stage) is not None:
        return ErrorTail("", (), "its record names no stage")
    path = run.error_file(index, stage)  # whatever path an edited manifest names
    try:
        details = JsonReader(read_object(path), path).child("details")
        streams = {stream: details.text(stream) for stream in ("stdout", "stderr")}
    except (OSError, TypedError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return ErrorTail(path, (), f"{os.path.basename(path)}: {reason}")
    lines = (
        (stream, line)
        for stream, text in streams.items()
        for line in clean(text).splitlines()[-TAIL_LINES_COUNT:]
    )
    return ErrorTail(path, tuple(lines))
