"""Messages for names that do not exist: the name that was probably meant, or all names."""

from collections.abc import Iterable
from typing import Final

_COMPARED_COUNT: Final = 1000  # names that are compared with a wrong one


def near(name: str, known: Iterable[str]) -> str | None:
    """The known name that is closest to a wrong one, None if none is close."""
    import difflib  # 4 ms, needed for a mistake only

    close = [o for o in known if o != name and abs(len(o) - len(name)) <= 4][:_COMPARED_COUNT]
    lowered = {other.lower(): other for other in close}
    matches = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.65)
    return lowered[matches[0]] if matches else None


def unknown_name(kind: str, name: str, known: Iterable[str], *, none: str = "none exists") -> str:
    """The message for an unknown name.

    Args:
        kind: what it should name: "schema", "stage".
        name: what was written.
        known: the names that exist.
        none: what to say if none exists.
    """
    known = sorted(known)
    hint = near(name, known)
    if hint is not None:
        return f"there is no {kind} {name!r}; did you mean {hint!r}?"
    names = f"there are: {', '.join(known)}" if known else none
    return f"there is no {kind} {name!r}; {names}"
