"""When is a manifest written? At once on a transition; for a mere beat, at most once in a while."""


def is_due(*, now_mono_s: float, written_mono_s: float, throttle_s: float) -> bool:
    """Tell whether a heartbeat alone may rewrite the manifest.

    Args:
        now_mono_s: now, on our monotonic clock.
        written_mono_s: when the manifest was last written, for whatever reason.
        throttle_s: the shortest time between two such writes (PRD: 30 s).
    """
    return now_mono_s - written_mono_s >= throttle_s
