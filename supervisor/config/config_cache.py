"""What was read from the configuration and found right, so that it need not be checked again.

Checking costs three times what handing in a run does. ``.runs/.supervisor/remembered-<what>.json``
holds the outcome beside all that it depends on: each file with its device, inode, size and times,
or that it is not there; the variables that are settings; the flags; the program: its version, every
module of ours, the libraries that check, and Python. Where any of that is another, nothing is
remembered. It is a view: whoever reads the configuration replaces it, and it may be lost at any
time. What depends on the values of secrets is never remembered.
"""

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from typing import Any, Final

import workers
from supervisor.config.batches import Batch, Planned
from supervisor.config.catalog import Catalog
from supervisor.config.find_root import ORIGIN, PATHS, PREFIX, current_dir, user_file
from supervisor.config.settings import Settings
from supervisor.version import VERSION
from workers.records.atomic import replace_file, to_line
from workers.records.files import parse_object, read_bytes
from workers.records.json_reader import JsonReader, to_plain
from workers.records.layout import Layout
from workers.records.limits import RECORD_LIMIT_BYTES
from workers.records.read_spec import read_pipeline
from workers.records.typed_errors import TypedError

# A file may be changed twice within one tick of the clock that stamps it, the second time unseen.
_SETTLED_S: Final = 2.0
# Where our modules are: any of them may hold a default, a limit or a check.
_PACKAGES = (os.path.dirname(os.path.dirname(__file__)), os.path.dirname(workers.__file__))
_LIBRARIES = ("pydantic", "pydantic_core")
CacheKey = Mapping[str, Any]


def cache_key(layout: Layout, project: str | None, flags: Mapping[str, Any]) -> CacheKey:
    """All that settings and pipelines depend on. Call it before they are read.

    Args:
        layout: the root.
        project: the project's file, None where there is none.
        flags: settings of the command line.
    """
    environ = os.environ
    names = [name for name in environ if name.startswith(PREFIX) and environ[name]]
    files = (project, user_file(environ), os.path.join(layout.root, ORIGIN))
    return {
        "versions": [VERSION, sys.version],
        "program": _stamps(_program()),
        "files": _stamps(file for file in files if file is not None),
        "names": sorted(names),  # one that is no setting may be a typo, and its value a secret
        "variables": {name: environ[name] for name in names if _is_setting(name)},
        "here": current_dir() if any(map(_is_relative, names)) else "",
        "flags": dict(flags),
    }


def _is_relative(name: str) -> bool:
    """Whether a variable names a path that depends on the current directory."""
    return name[len(PREFIX) :].lower() in PATHS and not os.path.isabs(os.environ[name])


def _is_setting(name: str) -> bool:
    return name[len(PREFIX) :].lower() in Settings.__dataclass_fields__


def batch_cache_key(key: CacheKey, path: str) -> CacheKey:
    """All that a batch depends on, read beside a configuration with that key."""
    path = os.path.realpath(path)
    return {**key, "files": [*key["files"], *_stamps((path,))]}


def _program() -> Iterator[str]:
    """The files of the program: our modules, and the main module of each library that checks."""
    for package in _PACKAGES:
        yield from sorted(_modules(package))
    for name in _LIBRARIES:
        found = find_spec(name)  # imports nothing
        yield (found and found.origin) or name


def _modules(directory: str) -> Iterator[str]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                yield entry.path
            elif "." not in entry.name and entry.name != "__pycache__" and entry.is_dir():
                yield from _modules(entry.path)


def _stamps(paths: Iterable[str]) -> list[Any]:
    found: list[Any] = []
    for path in paths:
        try:
            seen = os.stat(path)
        except OSError:
            found.append([path, None])
        else:
            times = (seen.st_mtime_ns, seen.st_ctime_ns)
            found.append([path, seen.st_dev, seen.st_ino, seen.st_size, *times])
    return found


def cached_config(layout: Layout, key: CacheKey) -> tuple[Settings, Catalog] | None:
    """Settings and pipelines as they were read from the very same; None where they were not."""
    data = _load(layout, "configuration", key)
    with contextlib.suppress(TypedError, TypeError):
        if data is not None:
            return Settings(**data["settings"]), _catalog(JsonReader(data, "remembered"))
    return None


def cached_batch(layout: Layout, key: CacheKey) -> Batch | None:
    """A batch as it was read from the very same; None where it was not."""
    data = _load(layout, "batch", key)
    if data is None:
        return None
    read = JsonReader(data, "remembered")
    with contextlib.suppress(TypedError):
        return Batch(
            key=read.text("batch"),
            edition=read.text("edition"),
            runs=tuple(_planned(item) for item in read.children("runs")),
            catalog=_catalog(read),
        )
    return None


def cache_config(layout: Layout, key: CacheKey, settings: Settings, catalog: Catalog) -> None:
    """Keep what was read, where the root has a place for it; nobody misses it where it fails."""
    _save(layout, "configuration", key, {"settings": to_plain(settings), **_plain(catalog)})


def cache_batch(layout: Layout, key: CacheKey, batch: Batch) -> None:
    """Keep a batch, likewise."""
    content = {"batch": batch.key, "edition": batch.edition, "runs": to_plain(batch.runs)}
    _save(layout, "batch", key, {**content, **_plain(batch.catalog)})


def _load(layout: Layout, what: str, key: CacheKey) -> dict[str, Any] | None:
    try:
        path = layout.remembered(what)
        data = parse_object(read_bytes(path, RECORD_LIMIT_BYTES, owner_uid=os.geteuid()), path)
    except (OSError, TypedError):
        return None
    return data if data.pop("key", None) == key else None


def _save(layout: Layout, what: str, key: CacheKey, content: dict[str, Any]) -> None:
    newest_ns = max(stamp[-1] or 0 for stamp in [*key["files"], *key["program"]])
    if time.time() - newest_ns / 1e9 < _SETTLED_S or not os.path.isdir(layout.control):
        return
    data = to_line({"key": dict(key), **content})
    if len(data) <= RECORD_LIMIT_BYTES:
        with contextlib.suppress(OSError, TypedError):
            replace_file(layout.remembered(what), data, flush=False)


def _plain(catalog: Catalog) -> dict[str, Any]:
    return {
        "pipelines": [to_plain(pipeline) for pipeline in catalog.pipelines.values()],
        "places": dict(catalog.places),
        "default": catalog.default,
        "notices": list(catalog.notices),
    }


def _catalog(read: JsonReader) -> Catalog:
    pipelines = [read_pipeline(item) for item in read.children("pipelines")]
    return Catalog(
        pipelines={pipeline.id: pipeline for pipeline in pipelines},
        places=dict(read.pairs("places")),
        default=read.text_or_none("default"),
        notices=read.texts("notices"),
    )


def _planned(read: JsonReader) -> Planned:
    return Planned(
        pipeline=read.text("pipeline"),
        task=read.text_or_none("task"),
        count=read.integer("count"),
        params=read.pairs("params"),
        priority=read.integer("priority"),
        group=read.text_or_none("group"),
    )
