"""Following a journal: each fact once, also where the file is replaced under the reader.

Whoever cannot flush a journal writes it anew, and a supervisor that finds one missing restores it;
both are another file with the same facts. A reader then starts again at its beginning and leaves
out what it has told.
"""

import os

from workers.records.journal import Event, Fact, JournalReader
from workers.records.typed_errors import TypedError


class JournalFollower:
    """Follows one journal. Never locks, and reads only what has changed.

    Args:
        path: the journal; it may not be there yet.

    Attributes:
        verdict: the verdict that stands, once it was seen; nothing is told after it.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._reader = JournalReader(path)
        self._seen = (0, 0, 0)
        self._last_seq = 0
        self.verdict: Fact | None = None

    @property
    def has_begun(self) -> bool:
        """The journal was there."""
        return self._last_seq > 0

    def read_new(self) -> list[Fact]:
        """The facts that came since the last call, in order; none where it cannot be read."""
        if self.verdict is not None:
            return []
        try:
            found = os.stat(self._path, follow_symlinks=False)
        except OSError:
            return []
        seen = (found.st_ino, found.st_size, found.st_mtime_ns)
        if seen == self._seen:
            return []
        if seen[0] != self._seen[0] or seen[1] < self._seen[1]:
            self._reader = JournalReader(self._path)
        self._seen = seen
        try:
            facts = self._reader.read_new()
        except (OSError, TypedError):
            return []
        return self._new(facts)

    def _new(self, facts: list[Fact]) -> list[Fact]:
        new = []
        for fact in facts:
            if fact.seq <= self._last_seq:
                continue
            self._last_seq = fact.seq
            new.append(fact)
            if fact.event == Event.VERDICT:
                self.verdict = fact
                break
        return new
