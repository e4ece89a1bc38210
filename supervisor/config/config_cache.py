"""A cache of the checked configuration, because a check costs three times as much as a `submit`.

``.runs/.supervisor/remembered-<what>.json`` contains the result and a key of everything that it
depends on: each file with its device, inode, size and times, or that it does not exist; the
variables that are settings; the options; the program: its version, all our modules, the libraries
that check, and Python. If any part differs, the cache is not used. It may be lost at any time;
whoever reads the configuration writes it again. Results that depend on the values of secrets are
never cached.
"""

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from typing import Any, Final

import workers
from supervisor.config.batches import Batch, PlannedRuns
from supervisor.config.catalog import Catalog
from supervisor.config.find_root import ORIGIN, PATHS, PREFIX, current_dir, user_file
from supervisor.config.settings import Settings
from supervisor.version import VERSION
from workers.records.atomic import replace_file, to_line
from workers.records.files import parse_object, read_bytes
from workers.records.json_reader import JsonReader, read_record, to_plain
from workers.records.layout import Layout
from workers.records.limits import RECORD_LIMIT_BYTES
from workers.records.spec import read_pipeline
from workers.records.typed_errors import TypedError

# A second change within one tick of the clock that stamps a file cannot be seen.
_SETTLED_S: Final = 2.0
# Any of our modules may contain a default, a limit or a check.
_PACKAGES = (os.path.dirname(os.path.dirname(__file__)), os.path.dirname(workers.__file__))
_LIBRARIES = ("pydantic", "pydantic_core", "pydantic_settings")
CacheKey = Mapping[str, Any]


def cache_key(layout: Layout, project: str | None, flags: Mapping[str, Any]) -> CacheKey:
    """Everything that settings and pipelines depend on. Call it before they are read.

    Args:
        layout: the root.
        project: the project's file, None if there is none.
        flags: settings of the command line.
    """
    environ = os.environ
    names = [name for name in environ if name.startswith(PREFIX) and environ[name]]
    files = (project, user_file(environ), os.path.join(layout.root, ORIGIN))
    return {
        "versions": [VERSION, sys.version],
        "program": _stamps(_program()),
        "files": _stamps(file for file in files if file is not None),
        "names": sorted(names),  # an unknown one may be a typo, and its value a secret
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
    """Everything that a batch depends on; ``key`` is that of its configuration."""
    path = os.path.realpath(path)
    return {**key, "files": [*key["files"], *_stamps((path,))]}


def _program() -> Iterator[str]:
    """The program's files: our modules, and the main module of each library that checks."""
    for package in _PACKAGES:
        yield from sorted(_modules(package))
    for name in _LIBRARIES:
        spec = find_spec(name)  # imports nothing
        yield (spec and spec.origin) or name


def _modules(directory: str) -> Iterator[str]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                yield entry.path
            elif "." not in entry.name and entry.name != "__pycache__" and entry.is_dir():
                yield from _modules(entry.path)


def _stamps(paths: Iterable[str]) -> list[Any]:
    stamps: list[Any] = []
    for path in paths:
        try:
            stat = os.stat(path)
        except OSError:
            stamps.append([path, None])
        else:
            times = (stat.st_mtime_ns, stat.st_ctime_ns)
            stamps.append([path, stat.st_dev, stat.st_ino, stat.st_size, *times])
    return stamps


def cached_config(layout: Layout, key: CacheKey) -> tuple[Settings, Catalog] | None:
    """Cached settings and pipelines, None if there are none of this key."""
    data = _load(layout, "configuration", key)
    with contextlib.suppress(TypedError, TypeError):
        if data is not None:
            return Settings(**data["settings"]), _catalog(JsonReader(data, "remembered"))
    return None


def cached_batch(layout: Layout, key: CacheKey) -> Batch | None:
    """A cached batch, None if there is none of this key."""
    data = _load(layout, "batch", key)
    if data is None:
        return None
    read = JsonReader(data, "remembered")
    with contextlib.suppress(TypedError):
        return Batch(
            key=read.text("batch"),
            edition=read.text("edition"),
            runs=tuple(read_record(PlannedRuns, item) for item in read.children("runs")),
            catalog=_catalog(read),
        )
    return None


def cache_config(layout: Layout, key: CacheKey, settings: Settings, catalog: Catalog) -> None:
    """Cache settings and pipelines if the root has been used before; failures do not matter."""
    _save(layout, "configuration", key, {"settings": to_plain(settings), **_plain(catalog)})


def cache_batch(layout: Layout, key: CacheKey, batch: Batch) -> None:
    """Cache a batch, likewise."""
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
