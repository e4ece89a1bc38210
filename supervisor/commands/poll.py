"""Waiting between two looks, for as long as somebody reads what comes of them."""

import select
import sys
from typing import Final

FOLLOW_S: Final = 0.25  # four looks a second: as often as a worker brings its logs up to date


def pause(seconds: float) -> None:
    """Wait, unless whoever reads stdout went away.

    Args:
        seconds: how long.

    Raises:
        BrokenPipeError: the other end of stdout is closed: nobody will read what is found.
    """
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # only what is told unasked: an error, a closed end
    if poll.poll(seconds * 1000):
        raise BrokenPipeError
