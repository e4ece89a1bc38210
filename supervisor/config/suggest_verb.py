"""What was probably meant, for names that do not exist."""

from collections.abc import Iterable


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Why a name cannot be meant: the nearest one, else all.

    Args:
        kind: what it should name: "schema", "stage".
        name: what was typed.
        known: what there is.
    """
    import difflib  # 4 ms, for a mistake only

    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"there is no {kind} {name!r}; did you mean {near[0]!r}?"
    if not known:
        return f"there is no {kind} {name!r}, and no other"
    return f"there is no {kind} {name!r}; there are: {', '.join(known)}"
