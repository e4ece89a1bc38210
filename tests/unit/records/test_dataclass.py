"""Our dataclass behaves like that of the standard library."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from workers.records.dataclass import dataclass

ORIGINAL: Any = dataclasses.dataclass
OURS: Any = dataclass


def classes(by: Any, **options: bool) -> list[type]:
    @by(frozen=True, slots=True, **options)
    class Pair:
        a: int
        b: str = "b"

    @by(frozen=True, slots=True, **options)
    class One:
        a: int

    @by(frozen=True, slots=True, **options)
    class Nothing:
        pass

    @by(frozen=True, slots=True, **options)
    class Partly:
        a: int
        b: list[int] = dataclasses.field(default_factory=list, compare=False, repr=False)

    @by(frozen=True, slots=True, **options)
    class Own:
        a: int

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 1

        def __repr__(self) -> str:
            return "own"

    return [Pair, One, Nothing, Partly, Own]


def values(cls: type) -> list[object]:
    if not dataclasses.fields(cls):
        return [cls(), cls()]
    return [cls(a=1), cls(a=1), cls(a=2)]


@pytest.mark.parametrize("options", [{}, {"kw_only": True}])
def test_our_dataclass_compares_hashes_and_shows_like_the_original(
    options: dict[str, bool],
) -> None:
    for original, ours in zip(classes(ORIGINAL, **options), classes(OURS, **options), strict=True):
        theirs, mine = values(original), values(ours)
        assert [[x == y for y in mine] for x in mine] == [[x == y for y in theirs] for x in theirs]
        assert [hash(x) == hash(mine[0]) for x in mine] == [
            hash(x) == hash(theirs[0]) for x in theirs
        ]
        assert list(map(repr, mine)) == list(map(repr, theirs))
        assert mine[0] != theirs[0] or ours.__name__ == "Own"
        assert ours.__match_args__ == original.__match_args__  # type: ignore[attr-defined]
        assert not hasattr(mine[0], "__dict__")
        if dataclasses.fields(ours):
            assert repr(dataclasses.replace(mine[0], a=5)) == repr(  # type: ignore[type-var]
                dataclasses.replace(theirs[0], a=5)  # type: ignore[type-var]
            )


@pytest.mark.parametrize("options", [{}, {"kw_only": True}])
@pytest.mark.parametrize(
    "change",
    [lambda x: setattr(x, "a", 5), lambda x: delattr(x, "a")],
    ids=["assignment", "deletion"],
)
def test_our_dataclass_refuses_what_the_original_refuses(
    options: dict[str, bool], change: Callable[[object], None]
) -> None:
    for original, ours in zip(classes(ORIGINAL, **options), classes(OURS, **options), strict=True):
        if not dataclasses.fields(ours):
            continue  # the original fails differently for a slotted class
        messages = []
        for value in (values(original)[0], values(ours)[0]):
            before = repr(value)
            with pytest.raises(dataclasses.FrozenInstanceError) as refused:
                change(value)
            assert repr(value) == before
            messages.append(str(refused.value))
        assert messages[0] == messages[1]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), {}),
        ((1, "b", "c"), {}),
        ((1,), {"a": 1}),
        ((1,), {"z": 1}),
    ],
)
@pytest.mark.parametrize("options", [{}, {"kw_only": True}])
def test_our_dataclass_refuses_arguments_with_the_original_message(
    options: dict[str, bool], arguments: tuple[object, ...], named: dict[str, object]
) -> None:
    messages = []
    for by in (ORIGINAL, OURS):
        with pytest.raises(TypeError) as refused:
            classes(by, **options)[0](*arguments, **named)
        messages.append(str(refused.value))
    assert messages[0] == messages[1]


def test_fields_by_keyword_follow_those_by_position() -> None:
    for by in (ORIGINAL, OURS):

        @by(frozen=True, slots=True)
        class Mixed:
            a: int = dataclasses.field(kw_only=True)
            b: int
            c: list[int] = dataclasses.field(default_factory=list, kw_only=True)

        create: Any = Mixed
        first, second = create(1, a=2), create(1, a=2)
        assert (first.a, first.b, first.c) == (2, 1, [])
        assert first.c is not second.c


def test_frozen_class_without_slots_is_refused() -> None:
    with pytest.raises(TypeError, match="slots=True"):
        OURS(frozen=True)
