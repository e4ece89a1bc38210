"""The heartbeat: a thread of its own that waits for no flush, no lock of ours and no stage."""

import _thread
import os
import select
import time
from collections.abc import Callable
from typing import Any

from workers.records.errors import TypedError
from workers.records.heartbeat import HeartbeatWriter


class Pulse:
    """Beats from ``start`` to ``stop``. Who starts it must stop it, whatever happens between.

    Args:
        path: the heartbeat file.
        interval_s: between two beats.
        on_beat: called after each beat; looks whether the run is to end.

    Attributes:
        ok_count, failed_count: beats that were written, and that the system refused.
        slowest_s: the longest single write.
    """

    def __init__(self, path: str, interval_s: float, on_beat: Callable[[], None]) -> None:
        self._path = path
        self._interval_s = interval_s
        self._on_beat = on_beat
        self._writer: HeartbeatWriter | None = None
        self._bell_fd = -1
        self._ended: _thread.LockType | None = None
        self.ok_count = 0
        self.failed_count = 0
        self.slowest_s = 0.0

    def start(self) -> None:
        """Beat once at once, then on schedule."""
        self.beat()
        self._on_beat()
        self._bell_fd = os.eventfd(0, os.EFD_CLOEXEC)
        self._ended = _thread.allocate_lock()
        self._ended.acquire()
        # Half the cost of threading.Thread, whose locks would also be what the beats wait with.
        _thread.start_new_thread(self._run, (self._ended,))

    def stop(self) -> None:
        """Beat no more. Does nothing where it does not beat."""
        if self._ended is not None:
            os.eventfd_write(self._bell_fd, 1)
            self._ended.acquire()
            self._ended = None
            os.close(self._bell_fd)
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _run(self, ended: _thread.LockType) -> None:
        try:
            bell = select.poll()
            bell.register(self._bell_fd, select.POLLIN)
            due = time.monotonic() + self._interval_s
            while not bell.poll(max(0.0, due - time.monotonic()) * 1000):
                self.beat()
                self._on_beat()
                # A beat that came late (we were stopped) is not made up for.
                due = max(due + self._interval_s, time.monotonic() + self._interval_s / 2)
        finally:
            ended.release()

    def beat(self) -> None:
        """Beat once. For the thread; after ``stop``, for whoever still has to be seen alive."""
        began = time.monotonic()
        try:
            if self._writer is None:
                self._writer = HeartbeatWriter(self._path)
            self._writer.beat(time.time())
        except (OSError, TypedError):
            self.failed_count += 1
        else:
            self.ok_count += 1
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)

    def to_json(self) -> dict[str, Any]:
        """As the verdict holds it."""
        return {
            "ok": self.ok_count,
            "failed": self.failed_count,
            "slowest_s": round(self.slowest_s, 6),
        }
