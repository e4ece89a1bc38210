"""Reads what a worker writes: each fact once, and whether the heartbeat moved. Never writes."""

from typing import Any

from supervisor.store.size_poller import CachedFd, SizePoller
from workers.records.files import sync_file
from workers.records.heartbeat import last_beat, newest_beat
from workers.records.identity import Identity
from workers.records.journal import Event, Fact, JournalReader, verdict_in
from workers.records.json_reader import JsonReader
from workers.records.layout import Layout, RunDir
from workers.records.spec import RunSpec
from workers.records.typed_errors import TypedError


class RunReader:
    """Reads the records of one run.

    Args:
        layout: the root.
        spec: the run's spec.

    Attributes:
        run: the run's files.
        facts: every fact read so far, in order.
    """

    def __init__(self, layout: Layout, spec: RunSpec) -> None:
        self.spec = spec
        self.run: RunDir = layout.run_dir(spec.task_id, spec.run_id)
        self.facts: list[Fact] = []
        self._journal = JournalReader(self.run.journal)
        self._journal_fd = CachedFd(self.run.journal)
        self._heartbeat_fd = CachedFd(self.run.heartbeat)
        self._journal_size = -1
        self._unflushed: list[Fact] = []
        self._heartbeat_size = -1
        self._heartbeat_at_ns: int | None = None

    def read(self) -> list[Fact]:
        """The new facts; none if the journal did not grow.

        A verdict is flushed before it is returned: its writer may be between write and flush, and
        nothing may be acknowledged before it is durable. A second flush costs nothing.

        Raises:
            FileNotFoundError: the run's directory was deleted.
            BadFileError: the journal is not a regular file.
            OSError: the verdict could not be flushed; the next call tries again.
        """
        size = self._journal_fd.by_name().st_size
        if size == self._journal_size and not self._unflushed:
            return []
        self._journal_size = size
        self._unflushed += self._journal.read_new()
        if verdict_in(self._unflushed):
            sync_file(self.run.journal)
        new, self._unflushed = self._unflushed, []
        self.facts.extend(new)
        return new

    @property
    def bad_lines_count(self) -> int:
        """Complete lines of the journal that are not facts."""
        return self._journal.bad_lines_count

    @property
    def verdict(self) -> Fact | None:
        """The verdict, if it was read."""
        return verdict_in(self.facts)

    @property
    def worker(self) -> Identity | None:
        """The worker that the journal names."""
        data = self._data_of(Event.RUN_STARTED)
        if data is None:
            return None
        try:
            return Identity.from_fields(JsonReader(data, self.run.journal).child("identity"))
        except TypedError:
            return None

    @property
    def number(self) -> int:
        """Its position in the order of acceptance; 0 for a run of an earlier version."""
        number = (self._data_of(Event.RUN_ACCEPTED) or {}).get("number")
        return number if isinstance(number, int) else 0

    @property
    def root_id(self) -> str | None:
        """The root in which the worker began; None if the journal names none."""
        root_id = (self._data_of(Event.RUN_STARTED) or {}).get("root_id")
        return root_id if isinstance(root_id, str) else None

    def _data_of(self, event: Event) -> dict[str, Any] | None:
        """The data of the first such fact."""
        return next((dict(fact.data) for fact in self.facts if fact.event == event), None)

    def note_in(self, poller: SizePoller) -> None:
        """Let a poller report when the journal grows, unless it must be read again anyway."""
        if self._unflushed:
            poller.forget(self.spec.run_id)
        else:
            poller.note(self.spec.run_id, self._journal_fd, self._journal_size)

    def has_news(self) -> bool:
        """Whether the journal grew, was replaced or deleted since ``read``."""
        try:
            return self._journal_fd.stat().st_size != self._journal_size or bool(self._unflushed)
        except OSError:
            return True

    def heartbeat_moved(self, *, sure: bool) -> bool:
        """Whether the heartbeat moved since the last call.

        Args:
            sure: the worker is known to be alive and on time, so the size of the open file is
                enough; otherwise the file is checked by name, with its time.
        """
        size = self._heartbeat_fd.size() if sure else None
        at_ns = None
        if size is None:
            try:
                status = self._heartbeat_fd.by_name()
            except OSError:
                return False
            size, at_ns = status.st_size, status.st_mtime_ns
        moved = size != self._heartbeat_size  # every beat changes it, also one that truncates
        if at_ns is not None and self._heartbeat_at_ns is not None:
            moved = moved or at_ns != self._heartbeat_at_ns
        if moved or at_ns is not None:
            self._heartbeat_size, self._heartbeat_at_ns = size, at_ns
        return moved

    def close(self) -> None:
        """Close all files; the next check opens them again."""
        self._journal_fd.close()
        self._heartbeat_fd.close()

    def heartbeat_at(self) -> str | None:
        """The newest heartbeat, None if none can be read."""
        try:
            fd = self._heartbeat_fd.fd
            return last_beat(self.run.heartbeat) if fd < 0 else newest_beat(fd)
        except (OSError, TypedError):
            return None
