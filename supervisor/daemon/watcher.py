"""Hints that the inbox changed, by watchdog. A hint only: the scan finds everything anyway.

One directory, not recursive. The handler only writes to a pipe, because an exception in it would
end the observer's thread. Without watchdog, or without a free inotify watch, ``state`` says so and
requests are found by the scan.
"""

import contextlib
import os
import threading
from typing import Any


class Watcher:
    """Makes a descriptor readable when a directory changes.

    Args:
        directory: what to watch; it exists.

    Attributes:
        fd: readable when something changed; call ``drain`` then.
        state: "inotify", or "polling (REASON)".
    """

    def __init__(self, directory: str) -> None:
        self.fd, self._wakeup_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._observer: Any = None
        self.state = self._start(directory)

    def _start(self, directory: str) -> str:
        try:
            import logging

            from watchdog.events import FileSystemEventHandler
            from watchdog.observers import Observer
        except ImportError:
            return "polling (watchdog is not installed)"
        # Without a handler Python prints watchdog's log lines on stderr.
        logging.getLogger("watchdog").addHandler(logging.NullHandler())
        wakeup_w = self._wakeup_w

        class WakeUp(FileSystemEventHandler):
            def on_any_event(self, event: object) -> None:
                with contextlib.suppress(OSError):  # a full pipe is readable
                    os.write(wakeup_w, b"!")

        try:
            observer = Observer()
            observer.schedule(WakeUp(), directory, recursive=False)
            observer.start()
        except OSError as error:
            return f"polling ({error.strerror or error})"
        except RuntimeError as error:  # no thread: the limit of processes is reached
            return f"polling ({error})"
        self._observer = observer
        return "inotify"

    def check(self) -> str:
        """Check that the observer is alive, and return the state."""
        if self._observer is not None and not (
            self._observer.is_alive() and all(e.is_alive() for e in self._observer.emitters)
        ):
            self.stop()
            self.state = "polling (the observer died)"
        return self.state

    def drain(self) -> None:
        """Empty the pipe."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.fd, 4096):
                pass

    def stop(self) -> None:
        """End the observer's threads.

        An assertion of watchdog's may fail in a thread that is ending; its traceback is suppressed.
        """
        if self._observer is not None:
            hook = threading.excepthook
            threading.excepthook = lambda args: (
                None if type(args.thread).__module__.startswith("watchdog.") else hook(args)
            )
            try:
                self._observer.stop()
                self._observer.join(timeout=5)
            finally:
                threading.excepthook = hook
            self._observer = None

    def close(self) -> None:
        """End the threads and close the pipe."""
        self.stop()
        os.close(self.fd)
        os.close(self._wakeup_w)
