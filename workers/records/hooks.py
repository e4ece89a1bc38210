"""Hooks of a run: commands to start after its verdict.

``on_success`` follows a success, ``on_failure`` a failure (lost and timed out included), and
``on_finish`` every verdict, also a cancellation, after the other. A pipeline's own hook replaces
the one of the same event in the settings.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from workers.records.dataclass import dataclass
from workers.records.json_reader import JsonReader


class HookEvent(StrEnum):
    """When a hook is due; the values are keys of the configuration."""

    SUCCESS = "on_success"
    FAILURE = "on_failure"
    FINISH = "on_finish"


_EVENT_OF: Final = {"succeeded": HookEvent.SUCCESS, "failed": HookEvent.FAILURE}


@dataclass(frozen=True, slots=True, kw_only=True)
class HookSpec:
    """One hook: a string for ``/bin/sh -c``, or an argv."""

    on: HookEvent
    command: str | tuple[str, ...]


def read_hooks(read: Iterable[JsonReader]) -> tuple[HookSpec, ...]:
    """Read the hooks of a record; skips those with an unknown event."""
    hooks = []
    for item in read:
        event, command = item.text("on"), item.command_or_none("command")
        if event in tuple(HookEvent) and command:
            hooks.append(HookSpec(on=HookEvent(event), command=command))
    return tuple(hooks)


def due_hooks(
    own: Iterable[HookSpec], general: Iterable[HookSpec], status: str
) -> tuple[HookSpec, ...]:
    """The hooks that are due after a verdict, in order.

    Args:
        own: the pipeline's.
        general: those of the settings.
        status: the verdict's.
    """
    hooks = {hook.on: hook for hook in (*general, *own)}
    return tuple(hooks[on] for on in (_EVENT_OF.get(status), HookEvent.FINISH) if on in hooks)
