"""The heartbeat: a thread of its own that waits for no flush, no stage, and no lock but its own."""

import _thread
import time
from collections.abc import Callable
from typing import Any, Final

from workers.records.heartbeat import HeartbeatWriter
from workers.records.typed_errors import CannotBeginError, TypedError

# As the supervisor's tries of a launch (fault P10): 0.5 + 1 + 2 s
THREAD_TRIES_COUNT: Final = 4
THREAD_DELAY_S: Final = 0.5
NO_THREAD: Final = "the limit of processes is reached (ulimit -u, pids.max), or memory"


class HeartbeatThread:
    """Beats from ``start`` to ``stop``. Who starts it must stop it, whatever happens between.

    Args:
        path: the heartbeat file.
        interval_s: between two beats.
        on_beat: called after each beat; looks whether the run is to end.
        shared: others than this host have to see the beats.

    Attributes:
        ok_count, failed_count: beats that were written, and that the system refused.
        slowest_s: the longest single write.
    """

    def __init__(
        self, path: str, interval_s: float, on_beat: Callable[[], None], *, shared: bool = False
    ) -> None:
        self._path = path
        self._shared = shared
        self._interval_s = interval_s
        self._on_beat = on_beat
        self._writer: HeartbeatWriter | None = None
        self._is_on = False
        self._beating = _thread.allocate_lock()  # nobody wants it before the end
        self.ok_count = 0
        self.failed_count = 0
        self.slowest_s = 0.0

    def start(self) -> None:
        """Beat once at once, then on schedule.

        Raises:
            CannotBeginError: there is no thread for it, also at the last of a few tries.
        """
        self.beat()
        self._on_beat()
        self._is_on = True
        delay_s = THREAD_DELAY_S
        for left in reversed(range(THREAD_TRIES_COUNT)):
            try:
                # Half the cost of threading.Thread, whose locks would be what the beats wait with.
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
        """Beat no more. Waits for a beat that is being written; the thread ends when it wakes."""
        self._is_on = False
        with self._beating:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def _run(self) -> None:
        # Found once: after five seconds whatever is looked up is in no cache any more.
        interval_s, sleep, monotonic = self._interval_s, time.sleep, time.monotonic
        beating, beat, on_beat = self._beating, self._beat, self._on_beat
        due = monotonic() + interval_s
        while True:
            left_s = due - monotonic()
            if left_s > 0.0:
                sleep(left_s)
            with beating:
                if not self._is_on:
                    return
                now = beat()
            on_beat()
            # A beat that came late (we were stopped) is not made up for.
            due = max(due, now - interval_s / 2) + interval_s

    def beat(self) -> None:
        """Beat once; after ``stop``, for whoever still has to be seen alive."""
        with self._beating:
            self._beat()

    def _beat(self) -> float:
        """Returns when it was done; of a thousand idle workers most of the cost is this."""
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
        """As the verdict holds it."""
        return {
            "ok": self.ok_count,
            "failed": self.failed_count,
            "slowest_s": round(self.slowest_s, 6),
        }
