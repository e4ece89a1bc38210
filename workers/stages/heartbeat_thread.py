"""The heartbeat: a thread of its own that waits for no flush, no stage, and no lock but its own."""

import _thread
import time
from collections.abc import Callable
from typing import Any, Final

from workers.records.heartbeat import HeartbeatWriter
from workers.records.typed_errors import CannotBeginError, TypedError

# As the supervisor's tries to start a worker (fault P10): 0.5 + 1 + 2 s
THREAD_TRIES_COUNT: Final = 4
THREAD_DELAY_S: Final = 0.5
NO_THREAD: Final = "the limit of processes is reached (ulimit -u, pids.max), or memory"


class HeartbeatThread:
    """Writes heartbeats from ``start`` to ``stop``; the caller must stop it in any case.

    Args:
        path: the heartbeat file.
        interval_s: time between two heartbeats.
        on_beat: called after each heartbeat; checks whether the run must end.
        shared: other hosts must see the heartbeats.

    Attributes:
        ok_count, failed_count: heartbeats that were written, and that the system refused.
        slowest_s: the longest write.
    """

    def __init__(
        self, path: str, interval_s: float, on_beat: Callable[[], None], *, shared: bool = False
    ) -> None:
        self._path = path
        self._shared = shared
        self._interval_s = interval_s
        self._on_beat = on_beat
        self._writer: HeartbeatWriter | None = None
        self._runs = False
        self._lock = _thread.allocate_lock()  # uncontended until the run ends
        self.ok_count = 0
        self.failed_count = 0
        self.slowest_s = 0.0

    def start(self) -> None:
        """Write one heartbeat now, and the next ones on schedule.

        Raises:
            CannotBeginError: the system refuses a thread in each of THREAD_TRIES_COUNT tries.
        """
        self.beat()
        self._on_beat()
        self._runs = True
        delay_s = THREAD_DELAY_S
        for left in reversed(range(THREAD_TRIES_COUNT)):
            try:
                # Half the cost of threading.Thread.
                _thread.start_new_thread(self._run, ())
            except RuntimeError as error:
                if not left:
                    raise CannotBeginError(reason=f"{error}; {NO_THREAD}") from None
                time.sleep(delay_s)
                delay_s *= 2
                self.beat()
            else:
                return

    def stop(self) -> None:
        """Wait for a write in progress and write no more; the thread ends when it wakes up."""
        self._runs = False
        with self._lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def _run(self) -> None:
        # Local names: after an interval of sleep, attributes are in no CPU cache any more.
        interval_s, sleep, monotonic = self._interval_s, time.sleep, time.monotonic
        lock, beat, on_beat = self._lock, self._beat, self._on_beat
        due = monotonic() + interval_s
        while True:
            left_s = due - monotonic()
            if left_s > 0.0:
                sleep(left_s)
            with lock:
                if not self._runs:
                    return
                now = beat()
            on_beat()
            # Late heartbeats (the process was stopped) are skipped.
            due = max(due, now - interval_s / 2) + interval_s

    def beat(self) -> None:
        """Write one heartbeat, also after ``stop``, if the worker must still be seen alive."""
        with self._lock:
            self._beat()

    def _beat(self) -> float:
        """Write one heartbeat; returns the time after it. Most of an idle worker's cost."""
        began = time.monotonic()
        try:
            if self._writer is None:
                self._writer = HeartbeatWriter(self._path)
            self._writer.beat(time.time())
            if self._shared:
                self._writer.send()
        except (OSError, TypedError):
            self.failed_count += 1
        else:
            self.ok_count += 1
        now = time.monotonic()
        if now - began > self.slowest_s:
            self.slowest_s = now - began
        return now

    def to_json(self) -> dict[str, Any]:
        """As in the verdict."""
        return {
            "ok": self.ok_count,
            "failed": self.failed_count,
            "slowest_s": round(self.slowest_s, 6),
        }
