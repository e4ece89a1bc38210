"""``dataclass`` as in the standard library, at a third of the cost of creating the class.

For each frozen class the standard library compiles six methods. With its dataclasses the import of
a worker's modules costs 17 % more CPU (95 ms instead of 81; medians of 20 imports of
``workers.entry.run_worker`` each, interleaved), and an interpreter that hosts a run imports them
while the caller waits (benches: startup). Its ``__init__`` is slow, too: it stores each field by
``object.__setattr__``.

Here only ``__init__`` is compiled; it stores each field by the descriptor of its slot. All classes
share the other methods. Assigning or deleting a field raises ``FrozenInstanceError``, as in the
standard library.
"""

import dataclasses
import operator
from collections.abc import Callable
from dataclasses import MISSING, FrozenInstanceError
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(
        *, frozen: bool = False, slots: bool = False, kw_only: bool = False
    ) -> Callable[[type], type]:
        """As ``dataclasses.dataclass``; a frozen class needs slots."""
        if not frozen:
            return dataclasses.dataclass(slots=slots, kw_only=kw_only)
        if not slots:
            raise TypeError("a frozen class needs slots=True: its fields are stored in slots")
        create = dataclasses.dataclass(
            init=False, eq=False, repr=False, slots=True, kw_only=kw_only
        )
        return lambda cls: _complete(create(cls))


def _complete(cls: Any) -> Any:  # noqa: ANN401 - any class
    """Add the methods that the standard library would have compiled, except those the class has."""
    fields = dataclasses.fields(cls)
    values = _getter(tuple(field.name for field in fields if field.compare))

    def equals(self: object, other: object) -> object:
        if other.__class__ is self.__class__:
            return values(self) == values(other)
        return NotImplemented

    def hashed(self: object) -> int:
        return hash(values(self))

    own = cls.__dict__
    cls.__init__ = _init(cls, fields)
    cls.__setattr__ = _refuse_assignment
    cls.__delattr__ = _refuse_deletion
    if "__eq__" not in own:
        cls.__eq__ = equals
    if own.get("__hash__") is None:
        cls.__hash__ = hashed
    if "__repr__" not in own:
        cls.__repr__ = _repr
    return cls


def _init(cls: Any, fields: tuple["dataclasses.Field[Any]", ...]) -> object:  # noqa: ANN401
    """Compile ``__init__``: positional parameters, then keyword-only ones."""
    names: dict[str, object] = {"MISSING": MISSING}
    parameters, body = [], []
    has_star = False
    for field in sorted(fields, key=operator.attrgetter("kw_only")):
        name = value = field.name
        if field.kw_only and not has_star:
            parameters.append("*")
            has_star = True
        names[f"store_{name}"] = getattr(cls, name).__set__
        if field.default is not MISSING:
            names[f"default_{name}"] = field.default
            parameters.append(f"{name}=default_{name}")
        elif field.default_factory is not MISSING:
            names[f"create_{name}"] = field.default_factory
            parameters.append(f"{name}=MISSING")
            value = f"create_{name}() if {name} is MISSING else {name}"
        else:
            parameters.append(name)
        body.append(f" store_{name}(self, {value})")
    exec(f"def __init__(self, {', '.join(parameters)}):\n" + "\n".join(body or [" pass"]), names)  # noqa: S102
    init: Any = names["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    return init


def _refuse_assignment(self: object, name: str, value: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_deletion(self: object, name: str) -> NoReturn:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _getter(names: tuple[str, ...]) -> Callable[[object], tuple[Any, ...]]:
    if len(names) > 1:
        return operator.attrgetter(*names)
    return lambda self: tuple(getattr(self, name) for name in names)


def _repr(self: Any) -> str:  # noqa: ANN401 - any record
    fields = (field for field in dataclasses.fields(self) if field.repr)
    text = ", ".join(f"{field.name}={getattr(self, field.name)!r}" for field in fields)
    return f"{self.__class__.__qualname__}({text})"
