"""What changed when a running supervisor read its configuration again, and when it takes effect.

No message contains a value that could be a secret.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from supervisor.config.settings import Effect, Settings
from workers.records.dataclass import dataclass
from workers.records.spec import PipelineSpec

_VALUE_HIDDEN: Final = frozenset({"secrets", "on_success", "on_failure", "on_finish"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingChange:
    """One change; ``text`` describes it in one line."""

    key: str
    text: str


def changes(
    old: Settings,
    new: Settings,
    old_pipelines: Mapping[str, PipelineSpec],
    new_pipelines: Mapping[str, PipelineSpec],
) -> tuple[SettingChange, ...]:
    """Compare two readings of the configuration; empty if they are equal."""
    return (*_settings(old, new), *_pipelines(old_pipelines, new_pipelines))


def _settings(old: Settings, new: Settings) -> Iterator[SettingChange]:
    for key, field in Settings.__dataclass_fields__.items():
        before, after = getattr(old, key), getattr(new, key)
        effect = field.metadata["effect"]
        when = "" if effect is Effect.NOW else f", effective {effect}"
        if before == after:
            continue
        if isinstance(before, dict):
            for name in sorted({*before, *after}):
                if before.get(name) != after.get(name):
                    text = _values(f"{key}.{name}", before.get(name), after.get(name))
                    yield SettingChange(key=f"{key}.{name}", text=text + when)
        else:
            text = f"{key} changed" if key in _VALUE_HIDDEN else _values(key, before, after)
            yield SettingChange(key=key, text=text + when)


def _values(key: str, before: object, after: object) -> str:
    texts = ["none" if value is None else str(value) for value in (before, after)]
    return f"{key} {texts[0]} -> {texts[1]}"


def _pipelines(
    old: Mapping[str, PipelineSpec], new: Mapping[str, PipelineSpec]
) -> Iterator[SettingChange]:
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            what = "removed" if name not in new else "added" if name not in old else "changed"
            when = f", effective {Effect.NEW_RUNS}" if what == "changed" else ""
            yield SettingChange(key=f"pipelines.{name}", text=f"pipeline {name} {what}{when}")
