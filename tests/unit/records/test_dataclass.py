"""Our dataclass behaves as the standard library's does."""

import dataclasses
from typing import Any

import pytest

from workers.records.dataclass import dataclass

ORIGINAL: Any = dataclasses.dataclass
OURS: Any = dataclass


def made(by: Any, **options: bool) -> list[type]:
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
def test_ours_compares_hashes_shows_and_replaces_as_the_original(options: dict[str, bool]) -> None:
    for original, ours in zip(made(ORIGINAL, **options), made(OURS, **options), strict=True):
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


def test_a_missing_argument_is_named() -> None:
    with pytest.raises(TypeError, match="'a'"):
        made(OURS)[0]()
