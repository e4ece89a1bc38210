"""Holding every record under a root against the invariants. Reads only; repairs nothing.

What a living supervisor may be changing at this moment (a run with a marker) is looked at for what
must hold at every instant, and left alone otherwise.
"""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from supervisor.report.records import tasks
from workers.records.atomic import is_abandoned
from workers.records.errors import TypedError
from workers.records.files import read_object
from workers.records.history import read_lines
from workers.records.ids import is_run_id
from workers.records.journal import Event, Fact, JournalReader
from workers.records.layout import Layout, RunDir
from workers.records.manifest import FINAL, fold_manifest, observed_in
from workers.records.spec import RunSpec, load_spec


@dataclass(frozen=True, slots=True)
class Violation:
    """One record that breaks an invariant: which, and how."""

    path: str
    what: str


def verify(layout: Layout) -> Iterator[Violation]:
    """Look at everything under a root.

    Yields:
        What is wrong; nothing where all invariants hold.
    """
    markers = set(os.listdir(layout.accepted)) if os.path.isdir(layout.accepted) else set()
    yield from _modes(layout)
    for task_id in tasks(layout):
        yield from _task(layout, task_id, markers)


def _modes(layout: Layout) -> Iterator[Violation]:
    """Private, ours, no links, nothing half written by the dead."""
    for top in (layout.runs, layout.out):
        for directory, folders, files in os.walk(top):
            if directory == layout.rejected:  # what was set aside is no record of ours
                folders.clear()
                continue
            for name in (*folders, *files):
                path = os.path.join(directory, name)
                try:
                    found = os.lstat(path)
                except FileNotFoundError:
                    continue
                mode = stat.S_IMODE(found.st_mode)
                if stat.S_ISLNK(found.st_mode):
                    yield Violation(path, "is a symbolic link")
                elif found.st_uid != os.geteuid():
                    yield Violation(path, f"belongs to another user (uid {found.st_uid})")
                elif mode & 0o077 and path != os.path.join(layout.runs, ".gitignore"):
                    yield Violation(path, f"may be read or written by others (mode {mode:o})")
                if is_abandoned(name):
                    yield Violation(path, "was left half written by a writer that is dead")


def _task(layout: Layout, task_id: str, markers: set[str]) -> Iterator[Violation]:
    history = layout.history(task_id)
    lines = [line for _, line in read_lines(history)]
    counts = Counter(str(line.get("runId")) for line in lines)
    for run_id, count in counts.items():
        if count > 1:
            yield Violation(history, f"holds run {run_id} {count} times")
    statuses = {str(line.get("runId")): line.get("status") for line in lines}
    directory = layout.runs_of(task_id)
    names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    for name in names:
        if not is_run_id(name):
            yield Violation(os.path.join(directory, name), "is not named as a run")
            continue
        yield from _run(layout, task_id, name, name in markers, statuses.get(name))
    yield from _state(layout, task_id, lines, markers)


def _state(
    layout: Layout, task_id: str, lines: list[dict[str, Any]], markers: set[str]
) -> Iterator[Violation]:
    path = layout.state(task_id)
    if not os.path.lexists(path):
        owed = all(str(line.get("runId")) in markers for line in lines)
        if lines and not owed:
            yield Violation(path, f"is missing although {len(lines)} runs have finished")
        return
    try:
        state = read_object(path)
    except TypedError as error:
        yield Violation(path, str(error).removeprefix(f"{path}: "))
        return
    shown = [str(run.get("runId")) for run in state.get("runs") or []]
    total = (state.get("totals") or {}).get("runs")
    settled = [str(n.get("runId")) for n in lines if str(n.get("runId")) not in markers]
    missing = set(settled[-len(shown) :] if shown else settled) - set(shown)
    for run_id in sorted(missing):
        yield Violation(path, f"lacks run {run_id}, which is in the history")
    if len(shown) != len(set(shown)):
        yield Violation(path, "holds a run twice")
    if not isinstance(total, int) or not len(settled) <= total <= len(lines):
        yield Violation(path, f"counts {total} runs, the history has {len(lines)}")


def _run(
    layout: Layout, task_id: str, run_id: str, marked: bool, recorded: object
) -> Iterator[Violation]:
    run = layout.run_dir(task_id, run_id)
    try:
        spec = load_spec(run.spec)
        reader = JournalReader(run.journal)
        facts = reader.read_new()
        manifest = read_object(run.manifest)
    except FileNotFoundError as error:
        yield Violation(str(error.filename), "is missing")
        return
    except TypedError as error:
        yield Violation(run.path, str(error))
        return
    if (spec.task_id, spec.run_id) != (task_id, run_id):
        yield Violation(run.spec, f"is of run {spec.run_id} of task {spec.task_id}")
    if (manifest.get("task_id"), manifest.get("run_id")) != (task_id, run_id):
        yield Violation(run.manifest, f"is of run {manifest.get('run_id')}")
        return
    if reader.bad_lines_count:
        yield Violation(run.journal, f"has {reader.bad_lines_count} lines that are no facts")
    yield from _sizes(run, spec)
    yield from _ending(layout, spec, facts, manifest, marked, recorded)


def _ending(
    layout: Layout,
    spec: RunSpec,
    facts: list[Fact],
    manifest: dict[str, Any],
    marked: bool,
    recorded: object,
) -> Iterator[Violation]:
    run = layout.run_dir(spec.task_id, spec.run_id)
    verdicts = [fact for fact in facts if fact.event == Event.VERDICT]
    final = manifest.get("status") in FINAL
    if len(verdicts) > 1:
        yield Violation(run.journal, f"has {len(verdicts)} verdicts; the first one counts")
    if final and not verdicts:
        yield Violation(run.manifest, "is final, but the journal has no verdict")
    if final and verdicts:
        again = fold_manifest(spec, facts, layout=layout, observed=observed_in(manifest))
        wrong = [key for key in again if key != "extensions" and again[key] != manifest.get(key)]
        if wrong:
            yield Violation(run.manifest, f"differs from the journal in {', '.join(wrong)}")
    if marked:
        return
    if not final:
        yield Violation(run.manifest, f"is {manifest.get('status')}, but nobody will finish it")
    elif recorded is None:
        yield Violation(layout.history(spec.task_id), f"lacks run {spec.run_id}")
    elif recorded != manifest.get("status"):
        yield Violation(layout.history(spec.task_id), f"calls run {spec.run_id} {recorded}")


def _sizes(run: RunDir, spec: RunSpec) -> Iterator[Violation]:
    limits = spec.limits
    for directory, limit in (
        (run.commands, limits.stream_limit_bytes),
        (run.errors, limits.error_file_limit_bytes),
    ):
        if os.path.isdir(directory):
            with os.scandir(directory) as entries:
                for entry in entries:
                    size = entry.stat(follow_symlinks=False).st_size
                    if size > limit:
                        yield Violation(entry.path, f"has {size} bytes, more than {limit}")
