"""When is a manifest written? At once on a transition; for a mere beat, at most once in a while.

Runs that began together would all be due in one turn of the loop, again and again: so each waits a
little longer than it must, each its own while.
"""

import zlib
from typing import Final

_SPREAD: Final = 4  # a quarter of the shortest time: a turn then writes few, and none is old


def wait_s(run_id: str, throttle_s: float) -> float:
    """How long after a manifest was written a heartbeat alone may rewrite it.

    Args:
        run_id: whose.
        throttle_s: the shortest time between two such writes (PRD: 30 s).

    Returns:
        ``throttle_s`` at least, a quarter more at most, always the same for the same run.
    """
    return throttle_s * (1 + zlib.crc32(run_id.encode()) / (_SPREAD << 32))
