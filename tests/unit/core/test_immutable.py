"""The values of the core cannot be changed: a step's input is the same before and after it."""

import dataclasses
import enum
import importlib
import pkgutil
from dataclasses import FrozenInstanceError

import pytest

import supervisor.core
from supervisor.core.lifecycle import Queued

BUILDERS = {"Draft", "Queue", "_Room"}
"""They collect one step's changes and do not outlive it; every other class is a value."""


def values() -> list[type]:
    """Every class that the core defines, but its enums and builders."""
    found = []
    for info in pkgutil.walk_packages(supervisor.core.__path__, "supervisor.core."):
        module = importlib.import_module(info.name)
        classes = [c for c in vars(module).values() if isinstance(c, type)]
        found += [
            cls
            for cls in classes
            if cls.__module__ == info.name
            and not issubclass(cls, enum.Enum)
            and cls.__name__ not in BUILDERS
        ]
    return found


def test_values_of_the_core_are_found() -> None:
    assert len(values()) > 50


@pytest.mark.parametrize("cls", values(), ids=lambda cls: cls.__qualname__)
def test_value_of_the_core_refuses_assignment_and_deletion(cls: type) -> None:
    assert dataclasses.is_dataclass(cls)
    value = object.__new__(cls)
    assert not hasattr(value, "__dict__")
    for name in [*(field.name for field in dataclasses.fields(cls)), "a_name_it_does_not_have"]:
        with pytest.raises(FrozenInstanceError, match=name):
            setattr(value, name, 7)
        with pytest.raises(FrozenInstanceError, match=name):
            delattr(value, name)


def test_refused_assignment_leaves_value_and_hash_as_they_were() -> None:
    queued = Queued(launches_count=1)
    before = hash(queued)
    with pytest.raises(FrozenInstanceError):
        queued.launches_count = 7  # type: ignore[misc]
    assert (queued, hash(queued)) == (Queued(launches_count=1), before)
