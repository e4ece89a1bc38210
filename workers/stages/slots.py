"""Slots shared by all runs of a root: a GPU, a licence, a test database.

Slot N of a name is a flock on ``.runs/.supervisor/slots/<name>.<N>``. Its holder writes its stage
into the file, and empties the file when it releases the slot. If a free slot's file still contains
a stage, its holder was killed: the slot is taken only if no process of that stage is alive. There
is no counter that could be wrong. A stage takes all of its slots or none, so two stages never wait
for each other.

A waiting stage has a ticket in ``slots/waiting/``, a locked file whose name sorts by priority, then
by the order in which runs were accepted. A stage takes nothing while a ticket before its own wants
one of the same slots. Tickets of dead processes do not count, nor do those of processes that have
not polled for a while (they may be stopped).
"""

import contextlib
import json
import os
import random
import time
from collections.abc import Callable, Mapping
from typing import Final

from workers.processes.stage_members import stage_is_alive
from workers.records.atomic import create_locked
from workers.records.dataclass import dataclass
from workers.records.files import make_private, open_regular, parse_object, read_from
from workers.records.flock import lock_fd
from workers.records.json_reader import JsonReader
from workers.records.limits import PRIORITY_LIMIT
from workers.records.spec import StageSpec
from workers.records.typed_errors import TypedError
from workers.stages.scheduler import StageTask, WaitUntil
from workers.stages.stage_context import StageContext

_FIRST_WAIT_S: Final = 0.05
_LONGEST_WAIT_S: Final = 0.5  # a released slot is taken after this time at most
_SILENT_S: Final = 5.0  # ten polls: a ticket whose owner has not polled for so long is ignored
_LIMIT_BYTES: Final = 65_536  # of a ticket, and of a slot's file


@dataclass(frozen=True, slots=True)
class HeldSlots:
    """Slots that a stage holds: descriptors of their locked files."""

    fds: tuple[int, ...]

    def release(self, *, is_clean: bool) -> None:
        """Release them; if a process of the stage may be alive, their files still name it."""
        for fd in self.fds:
            if is_clean:
                with contextlib.suppress(OSError):  # then the next holder searches its processes
                    os.ftruncate(fd, 0)
            os.close(fd)


class Slots:
    """Takes the slots of one stage.

    Args:
        context: the run.
        index: the stage's place, from 1.
        stage: the stage; it needs one slot of each name in ``uses``.
    """

    def __init__(self, context: StageContext, index: int, stage: StageSpec) -> None:
        spec = context.spec
        self._layout = context.layout
        self._control = context.control
        self._root_id = context.root_id
        self._counts: Mapping[str, int] = {slot.name: slot.count for slot in spec.slots}
        self._run_id = spec.run_id
        self._stage_id = stage.id
        self._names = tuple(sorted(stage.uses))
        self._ticket = f"{PRIORITY_LIMIT - spec.priority:04d}.{spec.run_id}.{index:06d}"
        self._polls: dict[str, tuple[int, float]] = {}  # of others: last poll, and when we saw it

    def wait(
        self, deadline_mono_s: float | None, may_start: Callable[[], bool]
    ) -> StageTask[HeldSlots | None]:
        """Wait for one slot of each name.

        Args:
            deadline_mono_s: when to give up; None for never.
            may_start: whether the stage could start if it had them.

        Returns:
            The slots; None if the deadline passed or the run must end.

        Raises:
            OSError: the slots' files cannot be used.
            TypedError: something else is in their place.
        """
        wait_s = _FIRST_WAIT_S
        ticket_fd: int | None = None
        try:
            while True:
                if may_start():
                    if ticket_fd is None:
                        ticket_fd = self._queue()
                    os.utime(ticket_fd)
                    held = self.take()
                    if held is not None:
                        return held
                elif ticket_fd is not None:  # it could not use the slots: let others have them
                    self._leave_queue(ticket_fd)
                    ticket_fd = None
                late = deadline_mono_s is not None and time.monotonic() >= deadline_mono_s
                if late or self._control.detail is not None:
                    return None
                due = time.monotonic() + wait_s * random.uniform(0.5, 1.0)  # noqa: S311 - a jitter
                yield WaitUntil(due if deadline_mono_s is None else min(due, deadline_mono_s))
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
        finally:
            if ticket_fd is not None:
                self._leave_queue(ticket_fd)

    def take(self) -> HeldSlots | None:
        """Take one slot of each name; None if one is not free. Raises as ``wait``."""
        fds: list[int] = []
        make_private(self._layout.slots, self._layout.slots_waiting)
        if self._is_behind():
            return None
        try:
            for name in self._names:
                fd = self._take_one(name)
                if fd is None:
                    HeldSlots(tuple(fds)).release(is_clean=True)
                    return None
                fds.append(fd)
        except (OSError, TypedError):
            HeldSlots(tuple(fds)).release(is_clean=True)
            raise
        return HeldSlots(tuple(fds))

    def _take_one(self, name: str) -> int | None:
        for number in range(self._counts.get(name, 1)):
            path = self._layout.slot(name, number)
            fd = lock_fd(open_regular(path, os.O_RDWR | os.O_CREAT))
            if fd is None:
                continue
            try:
                if not self._has_living_stage(fd):
                    self._write_holder(fd)
                    return fd
            except OSError:
                os.close(fd)
                raise
            os.close(fd)
        return None

    def _write_holder(self, fd: int) -> None:
        about = {"run_id": self._run_id, "stage": self._stage_id}
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps(about).encode() + b"\n", 0)

    def _has_living_stage(self, fd: int) -> bool:
        """Whether the slot's file names a stage that has outlived its worker."""
        data = read_from(fd, 0, _LIMIT_BYTES)
        if not data:
            return False
        try:
            read = JsonReader(parse_object(data, "slot"), "slot")
            run_id, stage_id = read.text("run_id"), read.text("stage")
        except TypedError:
            return False  # torn: its holder was killed before the stage began
        return stage_is_alive(stage_id, run_id, root=self._layout.root, root_id=self._root_id)

    def _queue(self) -> int:
        """Create a ticket and return its locked descriptor."""
        make_private(self._layout.slots, self._layout.slots_waiting)
        path = os.path.join(self._layout.slots_waiting, self._ticket)
        return create_locked(path, json.dumps({"slots": self._names}).encode() + b"\n")

    def _leave_queue(self, fd: int) -> None:
        with contextlib.suppress(OSError):  # if it stays, it is unlocked and does not count
            os.unlink(os.path.join(self._layout.slots_waiting, self._ticket))
        os.close(fd)

    def _is_behind(self) -> bool:
        """Whether a living stage whose ticket sorts before ours waits for one of our slots."""
        return any(
            name < self._ticket and self._is_rival(name)
            for name in sorted(os.listdir(self._layout.slots_waiting))
            if not name.startswith(".")
        )

    def _is_rival(self, name: str) -> bool:
        path = os.path.join(self._layout.slots_waiting, name)
        try:
            fd = lock_fd(open_regular(path, os.O_RDWR))
            if fd is not None:  # its process is dead
                os.unlink(path)
                os.close(fd)
                return False
            fd = open_regular(path, os.O_RDONLY)
            try:
                ticket = JsonReader(parse_object(read_from(fd, 0, _LIMIT_BYTES), path), path)
                polled_ns = os.fstat(fd).st_mtime_ns
            finally:
                os.close(fd)
            if not set(self._names) & set(ticket.texts("slots")):
                return False
        except (OSError, TypedError):
            return False  # gone since it was listed, or not a ticket
        now = time.monotonic()
        before, since = self._polls.get(name, (None, now))
        if polled_ns != before:
            since = now
        self._polls[name] = (polled_ns, since)
        return now - since < _SILENT_S
