"""Hooks as a worker's spec holds them."""

from workers.records.hooks import HookEvent, HookSpec


def hook_specs(*commands: str | list[str] | None) -> tuple[HookSpec, ...]:
    """The hooks that were written, in the order of HookEvent; None where none was."""
    return tuple(
        HookSpec(on=event, command=tuple(command) if isinstance(command, list) else command)
        for event, command in zip(HookEvent, commands, strict=True)
        if command is not None
    )
