"""Read everything under a root once, whatever it contains.

This module has its own parsers, so that a bug in the project's readers cannot hide a fault.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from workers.records.ids import is_run_id
from workers.records.layout import Layout

Record = dict[str, Any]
_BEAT: Final = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@dataclass(slots=True)
class RunEvidence:
    """The records of one run; sizes in bytes."""

    run_id: str
    journal: list[Record] = field(default_factory=list)
    manifest: Record | None = None
    beats: list[str] = field(default_factory=list)
    stream_sizes: list[int] = field(default_factory=list)
    error_sizes: list[int] = field(default_factory=list)
    detail_sizes: list[int] = field(default_factory=list)

    @property
    def verdicts(self) -> list[Record]:
        """All verdicts of the journal; there must be exactly one."""
        return [fact for fact in self.journal if fact.get("event") == "verdict"]


@dataclass(slots=True)
class Evidence:
    """All records of one task, and unexpected files; paths are relative to the root."""

    layout: Layout
    runs: dict[str, RunEvidence] = field(default_factory=dict)
    history: list[Record] = field(default_factory=list)
    state: Record = field(default_factory=dict)
    metrics: Record = field(default_factory=dict)
    log: list[Record] = field(default_factory=list)
    unparsable: list[str] = field(default_factory=list)
    temporary: list[str] = field(default_factory=list)
    wrong_mode: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)

    @property
    def markers(self) -> list[str]:
        """The remaining markers."""
        return [path for path in self.unfinished if os.path.dirname(path).endswith("accepted")]

    def logged(self, word: str) -> list[Record]:
        """The lines of the supervisor's log with this event."""
        return [line for line in self.log if line.get("event") == word]


def gather(layout: Layout, task_id: str) -> Evidence:
    """Read a root at rest.

    Args:
        layout: the root.
        task_id: the only task that ran there.
    """
    found = Evidence(layout)
    parsed: dict[str, list[Record]] = {}
    for path in _walk(found):
        name = os.path.basename(path)
        if name.endswith(".json"):
            parsed[path] = _parse(found, path, [_read(path)])
        elif name.endswith(".ndjson") or name.startswith("supervisor.log"):
            parsed[path] = _parse(found, path, _lines(path))
        elif name == ".heartbeat":
            bad = [line for line in _lines(path) if not _BEAT.fullmatch(line.rstrip(b"\n"))]
            found.unparsable += [layout.relative(path)] * len(bad)
    found.history = parsed.get(layout.history(task_id), [])
    found.state = _only(parsed, layout.state(task_id)) or {}
    found.metrics = _only(parsed, layout.metrics(task_id)) or {}
    found.log = parsed.get(f"{layout.log}.1", []) + parsed.get(layout.log, [])
    runs = layout.runs_of(task_id)
    for name in sorted(os.listdir(runs)) if os.path.isdir(runs) else ():
        if is_run_id(name):
            found.runs[name] = _run(layout, task_id, name, parsed)
        else:
            found.unfinished.append(layout.relative(os.path.join(runs, name)))
    for directory in (layout.accepted, layout.inbox, layout.rejected):
        names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
        found.unfinished += [layout.relative(os.path.join(directory, name)) for name in names]
    return found


def _walk(found: Evidence) -> Iterator[str]:
    """All files that may be records; notes temporary files and wrong modes."""
    for top in (found.layout.runs, found.layout.out):
        for directory, _, names in os.walk(top):
            paths = [os.path.join(directory, name) for name in names]
            for path in (directory, *paths):
                mode = os.lstat(path).st_mode & 0o777
                if mode != (0o700 if path == directory else 0o600):
                    found.wrong_mode.append(f"{found.layout.relative(path)} ({mode:o})")
            for path in paths:
                if path.endswith(".tmp"):
                    found.temporary.append(found.layout.relative(path))
                elif os.path.isfile(path) and not os.path.islink(path):
                    yield path


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _lines(path: str) -> list[bytes]:
    return _read(path).splitlines(keepends=True)


def _parse(found: Evidence, path: str, texts: list[bytes]) -> list[Record]:
    """The objects of a file; notes texts that are no object or lack a newline."""
    records = []
    for text in texts:
        try:
            value = json.loads(text.decode("utf-8"))
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict) or not text.endswith(b"\n"):
            found.unparsable.append(found.layout.relative(path))
        if isinstance(value, dict):
            records.append(value)
    return records


def _only(parsed: dict[str, list[Record]], path: str) -> Record | None:
    return next(iter(parsed.get(path, [])), None)


def _run(layout: Layout, task_id: str, run_id: str, parsed: dict[str, list[Record]]) -> RunEvidence:
    run = layout.run_dir(task_id, run_id)
    errors = _files(run.errors)
    details = [(_only(parsed, path) or {}).get("details") for path in errors]
    return RunEvidence(
        run_id=run_id,
        journal=parsed.get(run.journal, []),
        manifest=_only(parsed, run.manifest),
        beats=[line.decode("ascii", "replace").strip() for line in _lines(run.heartbeat)]
        if os.path.isfile(run.heartbeat)
        else [],
        stream_sizes=_stream_sizes(run.commands),
        error_sizes=[os.lstat(path).st_size for path in errors],
        detail_sizes=[
            len(str(detail.get(stream, "")).encode("utf-8", "surrogatepass"))
            for detail in details
            if isinstance(detail, dict)
            for stream in ("stdout", "stderr")
        ],
    )


def _stream_sizes(directory: str) -> list[int]:
    """The bytes of each stream, including the logs of earlier tries."""
    sizes: Counter[str] = Counter()
    for path in _files(directory):
        stem, _, ending = path.partition(".try-")
        sizes[f"{stem}.{ending.partition('.')[2]}" if ending else stem] += os.lstat(path).st_size
    return list(sizes.values())


def _files(directory: str) -> list[str]:
    if not os.path.isdir(directory):
        return []
    return [os.path.join(directory, name) for name in sorted(os.listdir(directory))]
