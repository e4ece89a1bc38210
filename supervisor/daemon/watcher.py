"""Hints that the inbox changed, by watchdog. A hint only: the scan finds everything anyway.

One directory, not recursive. The handler does nothing but ring a bell, because an exception in it
would end the observer's thread. Where there is no watchdog, or no inotify watch left, ``state``
says so and requests are found by the scan.
"""

import contextlib
import os
import threading
import time
from typing import Any, Final

_OLD_NS: Final = 2_000_000_000  # longer than any file system's tick: the next change is seen
_LOOK_ANYWAY_EVERY: Final = 10


class Watcher:
    """Rings when a directory changes.

    Args:
        directory: what to watch; it exists.

    Attributes:
        fd: readable when something changed; call ``drain`` then.
        state: "inotify", or "polling (why)".
    """

    def __init__(self, directory: str) -> None:
        self.fd, self._bell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._observer: Any = None
        self._directory = directory
        self._empty_since_ns: int | None = None
        self._passed_count = 0
        self.state = self._start()

    def _start(self) -> str:
        try:
            import logging

            from watchdog.events import FileSystemEventHandler
            from watchdog.observers import Observer
        except ImportError:
            return "polling (watchdog is not installed)"
        # Its lines (of an emitter that was overtaken by its own end, say) are for nobody: without a
        # handler Python prints them on stderr.
        logging.getLogger("watchdog").addHandler(logging.NullHandler())
        bell = self._bell

        class Ring(FileSystemEventHandler):
            def on_any_event(self, event: object) -> None:
                """Ring; a bell that is full has rung already."""
                with contextlib.suppress(OSError):
                    os.write(bell, b"!")

        try:
            observer = Observer()
            observer.schedule(Ring(), self._directory, recursive=False)
            observer.start()
        except OSError as error:
            return f"polling ({error.strerror or error})"
        except RuntimeError as error:  # no thread: the limit of processes is reached
            return f"polling ({error})"
        self._observer = observer
        return "inotify"

    def check(self) -> str:
        """Look whether the observer still lives, and return the state."""
        if self._observer is not None and not (
            self._observer.is_alive() and all(e.is_alive() for e in self._observer.emitters)
        ):
            self.stop()
            self.state = "polling (the observer died)"
        return self.state

    def listed(self, touched_ns: int | None, *, is_empty: bool) -> None:
        """The directory was listed.

        Args:
            touched_ns: what ``touched_ns`` was before that.
            is_empty: nothing was in it.
        """
        old = touched_ns is not None and time.time_ns() - touched_ns > _OLD_NS
        self._empty_since_ns = touched_ns if is_empty and old else None
        self._passed_count = 0

    def touched_ns(self) -> int | None:
        """When the directory last changed, by the clock of its file system; None if unknown."""
        try:
            return os.stat(self._directory).st_mtime_ns
        except OSError:
            return None

    def may_pass(self) -> bool:
        """Tell whether the directory is as it was when it was found empty: a look can be spared.

        Every tenth time it is looked at all the same.
        """
        if self._empty_since_ns is None or self._passed_count >= _LOOK_ANYWAY_EVERY:
            return False
        self._passed_count += 1
        return self.touched_ns() == self._empty_since_ns

    def drain(self) -> None:
        """Quieten the bell."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.fd, 4096):
                pass

    def stop(self) -> None:
        """End the observer's threads.

        One of them may be overtaken by its own end and then fails an assertion of watchdog's; that
        is nothing that anybody should read.
        """
        if self._observer is not None:
            told = threading.excepthook
            threading.excepthook = lambda args: (
                None if type(args.thread).__module__.startswith("watchdog.") else told(args)
            )
            try:
                self._observer.stop()
                self._observer.join(timeout=5)
            finally:
                threading.excepthook = told
            self._observer = None

    def close(self) -> None:
        """End the thread and close the bell."""
        self.stop()
        os.close(self.fd)
        os.close(self._bell)
