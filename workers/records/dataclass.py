"""``dataclass`` as the standard library has it, for a fraction of what making the class costs.

A start makes 126 frozen classes, for each of which the standard library writes and compiles six
methods: a sixth of its CPU. Here only ``__init__`` is compiled; to compare, to hash and to show are
common to all. That nothing is assigned to is held by mypy, which takes this for the original, and
not by every instance; so making one costs less, too.
"""

import dataclasses
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(
        *, frozen: bool = False, slots: bool = False, kw_only: bool = False
    ) -> Callable[[type], type]:
        """As ``dataclasses.dataclass``."""
        if not frozen:
            return dataclasses.dataclass(slots=slots, kw_only=kw_only)
        made = dataclasses.dataclass(eq=False, repr=False, slots=slots, kw_only=kw_only)
        return lambda cls: _finish(made(cls))


def _finish(cls: Any) -> Any:  # noqa: ANN401 - any class
    """Give it what the original would have compiled, unless it has its own."""
    names = tuple(field.name for field in dataclasses.fields(cls) if field.compare)
    values = _getter(names)

    def equals(self: object, other: object) -> object:
        if other.__class__ is self.__class__:
            return values(self) == values(other)
        return NotImplemented

    def hashed(self: object) -> int:
        return hash(values(self))

    own = cls.__dict__
    if "__eq__" not in own:
        cls.__eq__ = equals
    if own.get("__hash__") is None:
        cls.__hash__ = hashed
    if "__repr__" not in own:
        cls.__repr__ = _shown
    return cls


def _getter(names: tuple[str, ...]) -> Callable[[object], tuple[Any, ...]]:
    if len(names) > 1:
        return operator.attrgetter(*names)
    return lambda self: tuple(getattr(self, name) for name in names)


def _shown(self: Any) -> str:  # noqa: ANN401 - any record
    shown = (f for f in dataclasses.fields(self) if f.repr)
    text = ", ".join(f"{field.name}={getattr(self, field.name)!r}" for field in shown)
    return f"{self.__class__.__qualname__}({text})"
