"""Reading the configuration again while runs are supervised: what changed, and when it counts.

A key counts at once, for runs that are asked for from now on (whoever asks reads it), or at the
next start. No value is told that could be a secret.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from supervisor.config.settings import Settings
from workers.records.dataclass import dataclass
from workers.records.spec import PipelineSpec

AT_ONCE: Final = frozenset(
    {
        "max_runs",
        "groups",
        "lock_attempts",
        "lock_delay_s",
        "lock_factor",
        "lock_max_delay_s",
        "owed_wait_s",
        "heartbeat_stale_after_s",
        "hung_after_s",
        "manifest_throttle_s",
        "keep_runs",
        "keep_days",
        "keep_bytes",
    }
)
NEXT_START: Final = frozenset(
    {
        "batch",
        "history_limit",
        "launcher",
        "dask_scheduler",
        "slurm_options",
        "write_deadline_s",
        "hook_timeout_s",
        "metrics_textfile",
    }
)
NEW_RUNS: Final = frozenset(Settings.__dataclass_fields__) - AT_ONCE - NEXT_START
_UNSAID: Final = frozenset({"secrets", "on_success", "on_failure", "on_finish"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingChange:
    """One thing that is not as it was; ``text`` says what, in one line."""

    key: str
    text: str


def changes(
    old: Settings,
    new: Settings,
    old_pipelines: Mapping[str, PipelineSpec],
    new_pipelines: Mapping[str, PipelineSpec],
) -> tuple[SettingChange, ...]:
    """Compare two readings of the configuration; empty where they are the same."""
    return (*_settings(old, new), *_pipelines(old_pipelines, new_pipelines))


def _settings(old: Settings, new: Settings) -> Iterator[SettingChange]:
    for key in Settings.__dataclass_fields__:
        before, after = getattr(old, key), getattr(new, key)
        if before == after:
            continue
        if key in ("groups", "slots"):
            for name in sorted({*before, *after}):
                if before.get(name) != after.get(name):
                    text = _moved(f"{key}.{name}", before.get(name), after.get(name))
                    yield SettingChange(key=f"{key}.{name}", text=text + _when(key))
            continue
        text = f"{key} changed" if key in _UNSAID else _moved(key, before, after)
        yield SettingChange(key=key, text=text + _when(key))


def _when(key: str) -> str:
    if key in NEXT_START:
        return ", which takes effect at the next start"
    return ", for runs asked for from now on" if key in NEW_RUNS else ""


def _moved(key: str, before: object, after: object) -> str:
    words = ["none" if value is None else str(value) for value in (before, after)]
    return f"{key} {words[0]} -> {words[1]}"


def _pipelines(
    old: Mapping[str, PipelineSpec], new: Mapping[str, PipelineSpec]
) -> Iterator[SettingChange]:
    for name in sorted({*old, *new}):
        if name not in new:
            yield SettingChange(key=f"pipelines.{name}", text=f"pipeline {name} removed")
        elif name not in old:
            yield SettingChange(key=f"pipelines.{name}", text=f"pipeline {name} added")
        elif old[name] != new[name]:
            text = f"pipeline {name} changed, for runs asked for from now on"
            yield SettingChange(key=f"pipelines.{name}", text=text)
