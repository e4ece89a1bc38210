"""The name that was meant."""

from collections.abc import Iterable
from typing import Final

_NEAR_LIMIT: Final = 1000  # candidates that are compared with one wrong name


def near(name: str, known: Iterable[str]) -> str | None:
    """The known name that is closest to a wrong one, None where none is close."""
    import difflib  # nobody who writes all names right needs it

    close = [o for o in known if o != name and abs(len(o) - len(name)) <= 4][:_NEAR_LIMIT]
    lowered = {other.lower(): other for other in close}
    found = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.65)
    return lowered[found[0]] if found else None


def mend(name: str, known: Iterable[str], *, none: str) -> str:
    """What to write instead of a wrong name: the one that was meant, or all that there are.

    Args:
        name: the wrong one.
        known: the right ones.
        none: what to say where there are none.
    """
    known = sorted(known)
    hint = near(name, known)
    if hint is not None:
        return f"did you mean {hint!r}?"
    return f"there are: {', '.join(known)}" if known else none
