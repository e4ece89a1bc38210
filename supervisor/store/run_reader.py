"""Reading what a worker writes: each fact once, and whether the heartbeat moved. Never writes."""

from supervisor.store.cached_fd import CachedFd
from supervisor.store.size_poller import SizePoller
from workers.records.files import sync_file
from workers.records.heartbeat import last_beat, newest_beat
from workers.records.identity import Identity
from workers.records.journal import Event, Fact, JournalReader, verdict_in
from workers.records.json_reader import JsonReader
from workers.records.layout import Layout, RunDir
from workers.records.spec import RunSpec
from workers.records.typed_errors import TypedError


class RunReader:
    """What we have seen of one run.

    Args:
        layout: the root.
        spec: what was asked.

    Attributes:
        run: the run's files.
        facts: every fact seen so far, in order.
    """

    def __init__(self, layout: Layout, spec: RunSpec) -> None:
        self.spec = spec
        self.run: RunDir = layout.run_dir(spec.task_id, spec.run_id)
        self.facts: list[Fact] = []
        self._journal = JournalReader(self.run.journal)
        self._kept_journal = CachedFd(self.run.journal)
        self._kept_heartbeat = CachedFd(self.run.heartbeat)
        self._journal_size = -1
        self._unsure: list[Fact] = []
        self._beat_bytes = -1
        self._beat_at_ns: int | None = None

    def read(self) -> list[Fact]:
        """The new facts; nothing where the journal did not grow.

        A verdict is told only when it is on disk: its writer may be between write and flush, and
        what others are told must outlast a loss of power. Flushing what is flushed costs nothing.

        Raises:
            FileNotFoundError: the run's directory was deleted.
            BadFileError: something else stands in the journal's place.
            OSError: the verdict could not be flushed; the next call tries again.
        """
        size = self._kept_journal.by_name().st_size
        if size == self._journal_size and not self._unsure:
            return []
        self._journal_size = size
        self._unsure += self._journal.read_new()
        if verdict_in(self._unsure):
            sync_file(self.run.journal)
        new, self._unsure = self._unsure, []
        self.facts.extend(new)
        return new

    @property
    def bad_lines_count(self) -> int:
        """Whole lines of the journal that were no facts."""
        return self._journal.bad_lines_count

    @property
    def verdict(self) -> Fact | None:
        """The verdict, if it was seen."""
        return verdict_in(self.facts)

    @property
    def worker(self) -> Identity | None:
        """The worker as the journal names it."""
        for fact in self.facts:
            if fact.event == Event.RUN_STARTED:
                try:
                    return Identity.from_fields(
                        JsonReader(dict(fact.data), self.run.journal).child("identity")
                    )
                except TypedError:
                    return None
        return None

    @property
    def number(self) -> int:
        """Its place in the order of acceptance; 0 for a run of an earlier version."""
        for fact in self.facts:
            if fact.event == Event.RUN_ACCEPTED:
                found = fact.data.get("number")
                return found if isinstance(found, int) else 0
        return 0

    @property
    def root_id(self) -> str | None:
        """The root in which the worker began, as the journal names it; None if it names none."""
        for fact in self.facts:
            if fact.event == Event.RUN_STARTED:
                found = fact.data.get("root_id")
                return found if isinstance(found, str) else None
        return None

    def note_in(self, glance: SizePoller) -> None:
        """Let a glance tell when the journal is worth a look; one that must be read again is so."""
        if self._unsure:
            glance.forget(self.spec.run_id)
        else:
            glance.note(self.spec.run_id, self._kept_journal, self._journal_size)

    def has_news(self) -> bool:
        """Tell whether ``read`` is worth a call: the journal grew, or was replaced or deleted."""
        try:
            return self._kept_journal.stat().st_size != self._journal_size or bool(self._unsure)
        except OSError:
            return True

    def heartbeat_moved(self, *, sure: bool) -> bool:
        """Tell whether the heartbeat moved since the last call.

        Args:
            sure: the worker is known to be alive and on time, so that a file which has grown is
                all that matters; otherwise the name is looked at, and its time.
        """
        size = self._kept_heartbeat.size() if sure else None
        at_ns = None
        if size is None:
            try:
                found = self._kept_heartbeat.by_name()
            except OSError:
                return False
            size, at_ns = found.st_size, found.st_mtime_ns
        moved = size != self._beat_bytes  # every beat changes it, also the one that begins anew
        moved = moved or (None not in (at_ns, self._beat_at_ns) and at_ns != self._beat_at_ns)
        if moved or at_ns is not None:
            self._beat_bytes, self._beat_at_ns = size, at_ns
        return moved

    def close(self) -> None:
        """Keep no file open; the next look opens them again."""
        self._kept_journal.close()
        self._kept_heartbeat.close()

    def heartbeat_at(self) -> str | None:
        """The newest beat, None where there is none that can be read."""
        try:
            kept = self._kept_heartbeat.fd
            return last_beat(self.run.heartbeat) if kept < 0 else newest_beat(kept)
        except (OSError, TypedError):
            return None
