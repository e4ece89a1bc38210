"""Slots shared by all runs of a root: a GPU, a licence, a test database.

Slot N of a name is a flock on ``.runs/.supervisor/slots/<name>.<N>``. Whoever holds it has it, and
a worker that dies has given it back; nothing is counted anywhere, so nothing can be counted wrong.
A stage takes all of its slots or none, so two stages never wait for each other.
"""

import fcntl
import os
import random
import time
from collections.abc import Mapping
from typing import Final

from workers.control import Control
from workers.records.errors import TypedError
from workers.records.files import make_private, open_regular
from workers.records.layout import Layout
from workers.turns import Steps, Wait

_FIRST_WAIT_S: Final = 0.05
_LONGEST_WAIT_S: Final = 0.5  # so late is a slot taken that was given back


class Slots:
    """Takes and gives back.

    Args:
        layout: the root.
        counts: how many slots there are, by name.
        control: what may end the run while it waits.
    """

    def __init__(self, layout: Layout, counts: Mapping[str, int], control: Control) -> None:
        self._layout = layout
        self._counts = counts
        self._control = control

    def wait(
        self, names: tuple[str, ...], deadline_mono_s: float | None
    ) -> Steps[list[int] | None]:
        """Wait for one slot of each name.

        Returns:
            Descriptors that hold them until they are closed; None where the deadline passed or
            somebody wants the run ended.

        Raises:
            OSError: the slots' files cannot be used.
            TypedError: something else stands in their place.
        """
        wait_s = _FIRST_WAIT_S
        while (held := self.take(names)) is None:
            late = deadline_mono_s is not None and time.monotonic() >= deadline_mono_s
            if late or self._control.detail is not None:
                return None
            due = time.monotonic() + wait_s * random.uniform(0.5, 1.0)  # noqa: S311 - a jitter
            yield Wait(due if deadline_mono_s is None else min(due, deadline_mono_s))
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
        return held

    def take(self, names: tuple[str, ...]) -> list[int] | None:
        """Take one slot of each name, or none of any; returns and raises as ``wait``."""
        held: list[int] = []
        try:
            make_private(self._layout.slots)
            for name in sorted(names):
                fd = self._take_one(name)
                if fd is None:
                    give_back(held)
                    return None
                held.append(fd)
        except (OSError, TypedError):
            give_back(held)
            raise
        return held

    def _take_one(self, name: str) -> int | None:
        for number in range(self._counts.get(name, 1)):
            fd = open_regular(self._layout.slot(name, number), os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
            except OSError:
                os.close(fd)
                raise
            else:
                return fd
        return None


def give_back(held: list[int]) -> None:
    """Let go of slots."""
    for fd in held:
        os.close(fd)
