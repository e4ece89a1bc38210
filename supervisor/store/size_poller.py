"""A glance at many kept files at once: which of them have another size than when they were noted?

What a glance needs stands side by side and apart from all else, because a thousand runs that are
looked at once a second are in no cache: so a file costs 0.5 us, and through its run three times it.
"""

import os
from array import array
from collections.abc import KeysView

from supervisor.store.cached_fd import CachedFd


class SizePoller:
    """Watches the sizes of files that are kept open elsewhere, by a name for each."""

    def __init__(self) -> None:
        self._place: dict[str, int] = {}
        self._names: list[str] = []
        self._fds = array("i")
        self._sizes = array("q")

    def names(self) -> KeysView[str]:
        """The names of all that is watched."""
        return self._place.keys()

    def share(self, turn: int, turns_count: int) -> list[str]:
        """Some of the names: each has its turn among ``turns_count``, while none is forgotten."""
        return self._names[turn % turns_count :: turns_count]

    def note(self, name: str, kept: CachedFd, size: int) -> None:
        """Watch a file from now on, until its descriptor is closed.

        Args:
            name: of the file; what was noted under it before is forgotten.
            kept: the file; one that has no descriptor is not watched.
            size: in bytes, the size that is no news.
        """
        if kept.fd < 0:
            self.forget(name)
            return
        place = self._place.get(name)
        if place is None:
            self._place[name] = len(self._names)
            self._names.append(name)
            self._fds.append(kept.fd)
            self._sizes.append(size)
        else:
            self._fds[place], self._sizes[place] = kept.fd, size
        kept.on_close = lambda: self.forget(name)

    def forget(self, name: str) -> None:
        """Watch a file no more; the last one takes its place."""
        place = self._place.pop(name, None)
        if place is None:
            return
        last, fd, size = self._names.pop(), self._fds.pop(), self._sizes.pop()
        if last != name:
            self._names[place], self._fds[place], self._sizes[place] = last, fd, size
            self._place[last] = place

    def changed(self) -> list[str]:
        """The names of those whose size is another now."""
        seek, end = os.lseek, os.SEEK_END
        rows = zip(self._names, self._fds, self._sizes, strict=True)
        return [name for name, fd, size in rows if seek(fd, 0, end) != size]
