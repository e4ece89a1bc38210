"""What is to be started when a run has ended, as its spec says it.

``on_success`` follows a success, ``on_failure`` a failure (lost and timed out included), and
``on_finish`` every verdict, a cancellation too, after the other. A pipeline's own takes the place
of the one of that name in the settings.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from workers.records.dataclass import dataclass
from workers.records.json_reader import JsonReader


class HookEvent(StrEnum):
    """When a hook is due; the words are the keys that people write."""

    SUCCESS = "on_success"
    FAILURE = "on_failure"
    FINISH = "on_finish"


_STATUS: Final = {"succeeded": HookEvent.SUCCESS, "failed": HookEvent.FAILURE}


@dataclass(frozen=True, slots=True, kw_only=True)
class HookSpec:
    """One hook: a string for ``/bin/sh -c``, or an argv."""

    on: HookEvent
    command: str | tuple[str, ...]


def read_hooks(read: Iterable[JsonReader]) -> tuple[HookSpec, ...]:
    """Read hooks of a record; one of an event that this version does not know is passed over."""
    found = []
    for item in read:
        event, command = item.text("on"), item.command_or_none("command")
        if event in tuple(HookEvent) and command:
            found.append(HookSpec(on=HookEvent(event), command=command))
    return tuple(found)


def due_hooks(
    own: Iterable[HookSpec], general: Iterable[HookSpec], status: str
) -> tuple[HookSpec, ...]:
    """The hooks that a verdict makes due, in their order.

    Args:
        own: the pipeline's.
        general: those of the settings.
        status: the verdict's.
    """
    known = {hook.on: hook for hook in (*general, *own)}
    wanted = (_STATUS.get(status), HookEvent.FINISH)
    return tuple(known[event] for event in wanted if event is not None and event in known)
