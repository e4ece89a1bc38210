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
