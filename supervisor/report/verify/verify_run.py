"""Check the records of one run: against each other, their limits and the history."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import StrEnum
from typing import Any, Final

from supervisor.report.read.hook_outcomes import UNREADABLE, hook_outcomes
from supervisor.store.run_file_sizes import stream_sizes
from workers.records.clock import epoch_of
from workers.records.dataclass import dataclass
from workers.records.files import read_object
from workers.records.heartbeat import last_beat
from workers.records.history import history_line
from workers.records.journal import FROM_HISTORY, Event, Fact, JournalReader
from workers.records.json_reader import JsonReader
from workers.records.layout import Layout, RunDir
from workers.records.limits import HEARTBEAT_FILE_LIMIT_BYTES, RECORD_LIMIT_BYTES
from workers.records.manifest import FINAL, fold_manifest, observed_in
from workers.records.manifest_check import check_manifest
from workers.records.spec import RunSpec, StageKind, load_spec
from workers.records.typed_errors import NewerRecordError, TypedError

# The keys of a history line that follow from the verdict, and those that follow from the manifest.
# A run whose records were restored from an older copy agrees in the verdict only.
_VERDICT_KEYS: Final = ("taskId", "runId", "timestamp", "status", "statusDetail", "pipelineId")
_MANIFEST_KEYS: Final = (*_VERDICT_KEYS, "startedAt", "durationSeconds", "stages", "manifest")
FindLine = Callable[[str], dict[str, Any] | None]  # the history line of a run


class RepairKind(StrEnum):
    """How ``supervisor repair`` repairs a violation."""

    MODE = "mode"
    DELETE = "delete"
    QUARANTINE = "quarantine"
    RUN = "run"
    HISTORY = "history"
    VIEWS = "views"


@dataclass(frozen=True, slots=True)
class Violation:
    """A record that violates an invariant.

    Attributes:
        path: the record.
        problem: what is wrong with it.
        repair: how it is repaired; None if only a person can.
        task_id: its task, if the task is repaired as a whole.
        run_id: its run, if the run is repaired as a whole.
    """

    path: str
    problem: str
    repair: RepairKind | None = None
    task_id: str = ""
    run_id: str = ""


def violation_of(path: str, error: OSError | TypedError) -> Violation:
    """A record that cannot be read."""
    return Violation(path, str(error).removeprefix(f"{path}: "))


def check_record(path: str, check: Callable[[JsonReader], object]) -> Iterator[Violation]:
    """Check a record that may be missing, or written by a later version."""
    try:
        check(JsonReader(read_object(path), path))
    except (FileNotFoundError, NotADirectoryError, NewerRecordError):
        return
    except (OSError, TypedError) as error:
        yield violation_of(path, error)


def check_run(
    layout: Layout, task_id: str, run_id: str, *, marked: bool, recorded: FindLine
) -> Iterator[Violation]:
    """Check one run.

    Args:
        layout: the root.
        task_id: the task whose directory contains the run.
        run_id: the run.
        marked: it has a marker: it is not recorded in history and state yet.
        recorded: finds the history line of a run.

    Yields:
        Each violation; none for a run of a later version.
    """
    run = layout.run_dir(task_id, run_id)
    for item in _check(layout, task_id, run, marked, recorded):
        if item.repair is None and item.path in (run.journal, run.manifest) and not marked:
            item = replace(item, repair=RepairKind.RUN, task_id=task_id, run_id=run_id)
        yield item


def _check(
    layout: Layout, task_id: str, run: RunDir, marked: bool, recorded: FindLine
) -> Iterator[Violation]:
    run_id = run.run_id
    try:
        spec = load_spec(run.spec)
        reader = JournalReader(run.journal)
        facts = reader.read_new()
        manifest = read_object(run.manifest)
        check_manifest(manifest, run.manifest, task_id=task_id, run_id=run_id)
    except NewerRecordError:
        return
    except (FileNotFoundError, NotADirectoryError) as error:
        if marked or os.path.lexists(run.path):  # else retention removed it meanwhile
            yield Violation(str(error.filename), "is missing")
        return
    except (OSError, TypedError) as error:
        path = error.facts.get("path") if isinstance(error, TypedError) else error.filename
        yield violation_of(str(path or run.path), error)
        return
    if (spec.task_id, spec.run_id) != (task_id, run_id):
        yield Violation(run.spec, f"is of run {spec.run_id} of task {spec.task_id}")
        return
    if reader.bad_lines_count:
        yield Violation(run.journal, f"has {reader.bad_lines_count} lines that are not facts")
    numbers = [fact.seq for fact in facts]
    if numbers != sorted(set(numbers)):
        yield Violation(run.journal, "has facts out of order")
    yield from check_record(run.cancel, lambda read: read.text_or_none("detail"))
    yield from check_record(run.placement, _check_placement)
    for hook in hook_outcomes(run):
        if hook.status == UNREADABLE:
            yield Violation(hook.path, str(hook.reason).removeprefix(f"{hook.path}: "))
    yield from _sizes(run, spec)
    yield from _heartbeat(run)
    yield from _verdict(layout, spec, facts, manifest, marked=marked)
    if manifest["status"] in FINAL:
        yield from _logs(run, spec, facts)
        yield from _logs_of_all_tries(run, spec, facts)
        yield from _error_files(run, spec, manifest)
        if not marked:
            is_restored = any(fact.data.get(FROM_HISTORY) for fact in facts)
            keys = _VERDICT_KEYS if is_restored else _MANIFEST_KEYS
            path, line = layout.history(task_id), recorded(run_id)
            expected = history_line(manifest, layout.relative(run.manifest))
            wrong = [key for key in keys if line is not None and line.get(key) != expected[key]]
            if line is None:
                yield Violation(path, f"lacks run {run_id}", RepairKind.RUN, task_id, run_id)
            if wrong:
                problem = f"differs from the manifest of run {run_id} in {', '.join(wrong)}"
                yield Violation(path, problem, RepairKind.HISTORY, task_id)


def _check_placement(read: JsonReader) -> None:
    read.integer("attempt", 1)
    read.text("launcher")
    read.amounts("resources")


def _verdict(
    layout: Layout, spec: RunSpec, facts: list[Fact], manifest: dict[str, Any], *, marked: bool
) -> Iterator[Violation]:
    """There is one verdict, and the manifest agrees with the journal."""
    run = layout.run_dir(spec.task_id, spec.run_id)
    count = sum(1 for fact in facts if fact.event == Event.VERDICT)
    is_final = manifest["status"] in FINAL
    if count > 1:
        yield Violation(run.journal, f"has {count} verdicts; the first one counts")
    if is_final and not count:
        yield Violation(run.manifest, "is final, but the journal has no verdict")
    if is_final and count:
        folded = fold_manifest(spec, facts, layout=layout, observed=observed_in(manifest))
        ours, theirs = folded.pop("extensions"), manifest["extensions"]
        wrong = [key for key in folded if folded[key] != manifest.get(key)]
        # An earlier version may lack a key of extensions; the supervisor adds warnings.
        wrong += [
            f"extensions.{key}"
            for key in ours
            if key != "warnings" and key in theirs and ours[key] != theirs[key]
        ]
        if wrong:
            yield Violation(run.manifest, f"differs from the journal in {', '.join(wrong)}")
    if not is_final and not marked:
        problem = f"is {manifest['status']}, but no supervisor will finish it: it has no marker"
        yield Violation(run.manifest, problem)


def _sizes(run: RunDir, spec: RunSpec) -> Iterator[Violation]:
    limits = spec.limits
    for directory, limit in (
        (run.path, RECORD_LIMIT_BYTES),
        (run.commands, limits.stream_limit_bytes),
        (run.errors, limits.error_file_limit_bytes),
    ):
        if os.path.isdir(directory):
            with os.scandir(directory) as entries:
                for entry in entries:
                    size = entry.stat(follow_symlinks=False).st_size
                    if size > limit:
                        yield Violation(entry.path, f"has {size} bytes, more than {limit}")


def _heartbeat(run: RunDir) -> Iterator[Violation]:
    """The heartbeat is small, and its last complete line is an instant."""
    try:
        size = os.stat(run.heartbeat, follow_symlinks=False).st_size
        newest = last_beat(run.heartbeat)
        if newest is not None:
            epoch_of(newest)
    except FileNotFoundError:
        return  # no worker has begun
    except TypedError as error:
        yield violation_of(run.heartbeat, error)
    except ValueError as error:
        yield Violation(run.heartbeat, str(error))
    else:
        if size > HEARTBEAT_FILE_LIMIT_BYTES:
            limit = HEARTBEAT_FILE_LIMIT_BYTES
            yield Violation(run.heartbeat, f"has {size} bytes, more than {limit}")


def _logs(run: RunDir, spec: RunSpec, facts: list[Fact]) -> Iterator[Violation]:
    """Each stage that ended has its logs, of the size in the journal."""
    if any(fact.data.get("code") == "log_incomplete" for fact in facts):
        return
    ended = {fact.data["stage"]: fact for fact in facts if fact.event == Event.STAGE_ENDED}
    for index, stage in enumerate(spec.pipeline.stages, 1):
        fact = ended.get(stage.id)
        if fact is None or stage.kind is not StageKind.COMMAND:
            continue
        if fact.data.get("reason") == "internal-error":
            continue
        for stream in ("stdout", "stderr"):
            path = run.stage_log(index, stage.id, stream)
            counts = fact.data.get(stream) or {}
            seen, kept = counts.get("seen_bytes", 0), counts.get("kept_bytes", 0)
            try:
                size = os.stat(path, follow_symlinks=False).st_size
            except FileNotFoundError:
                yield Violation(path, "is missing, although its stage ended")
                continue
            # Masked secrets and the line for dropped bytes change the size.
            if seen == kept and not spec.secrets and size != seen:
                yield Violation(path, f"has {size} bytes, the journal says {seen}")


def _logs_of_all_tries(run: RunDir, spec: RunSpec, facts: list[Fact]) -> Iterator[Violation]:
    """The logs of all tries of a stage together are within the limit of its streams.

    Version 0.1.0 applied the limit to each try and recorded no ``log_limit_bytes``.
    """
    limit = spec.limits.stream_limit_bytes
    shared = {fact.data.get("stage") for fact in facts if "log_limit_bytes" in fact.data}
    sizes = stream_sizes(run.commands) if shared and os.path.isdir(run.commands) else {}
    for index, stage in enumerate(spec.pipeline.stages, 1):
        for stream in ("stdout", "stderr") if stage.id in shared else ():
            path = run.stage_log(index, stage.id, stream)
            size = sizes.get(os.path.basename(path), 0)
            if size > limit:
                yield Violation(path, f"has {size} bytes with earlier tries, more than {limit}")


def _error_files(run: RunDir, spec: RunSpec, manifest: dict[str, Any]) -> Iterator[Violation]:
    """Each failed command has an error file that belongs to it and is within its limits."""
    warned = {warning.get("code") for warning in manifest["extensions"]["warnings"]}
    for command in manifest["commands"]:
        if not command["error_file"]:
            needs_one = command["status"] in ("failed", "skipped") and command.get("completed_at")
            if needs_one and command.get("kind") == "command" and "error_file_failed" not in warned:
                yield Violation(run.manifest, f"names no error file of stage {command['id']}")
            continue
        path = run.error_file(command["index"], command["id"])
        try:
            record = read_object(path)
        except FileNotFoundError:
            yield Violation(path, "is missing, although the manifest names it")
            continue
        except TypedError as error:
            yield violation_of(path, error)
            continue
        details = record.get("details")
        if not isinstance(details, dict):
            yield Violation(path, "has no details")
            continue
        owner = (record.get("run_id"), record.get("task_id"), record.get("command_id"))
        if owner != (run.run_id, spec.task_id, command["id"]):
            yield Violation(path, f"is of stage {owner[2]} of run {owner[0]}")
        if details.get("exit_code") != command.get("exit_code"):
            yield Violation(path, "has another exit code than the manifest")
        limit = spec.limits.error_detail_limit_bytes
        for stream in ("stdout", "stderr"):
            size = len(str(details.get(stream, "")).encode("utf-8", "replace"))
            if size > limit:
                yield Violation(path, f"has {size} bytes of {stream}, more than {limit}")
