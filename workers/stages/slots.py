"""Slots shared by all runs of a root: a GPU, a licence, a test database.

Slot N of a name is a flock on ``.runs/.supervisor/slots/<name>.<N>``; its holder writes there which
stage has it, and empties the file when it gives the slot back. If the file still names a stage, the
holder was killed: the slot is taken only when no process of that stage is alive. Nothing is counted
anywhere, so nothing can be counted wrong. A stage takes all of its slots or none, so two stages
never wait for each other.

Who waits has a ticket in ``slots/waiting/``, a locked file whose name sorts by priority and then by
the order in which runs were accepted. A stage takes nothing while a ticket that sorts before its
own wants one of the same slots. The ticket of a dead process does not count, nor does that of one
that has not polled for a while (it may be stopped).
"""

import contextlib
import fcntl
import json
import os
import random
import time
from collections.abc import Callable, Mapping
from typing import Final

from workers.processes.stage_members import stage_is_alive
from workers.records.atomic import temporary_name, write_all
from workers.records.dataclass import dataclass
from workers.records.files import (
    CREATE,
    FILE_MODE,
    make_private,
    open_regular,
    parse_object,
    read_from,
    take_lock,
)
from workers.records.json_reader import JsonReader
from workers.records.layout import Layout
from workers.records.limits import PRIORITY_LIMIT
from workers.records.spec import RunSpec
from workers.records.typed_errors import TypedError
from workers.stages.control import Control
from workers.stages.scheduler import StageTask, WaitUntil

_FIRST_WAIT_S: Final = 0.05
_LONGEST_WAIT_S: Final = 0.5  # a slot that was given back is taken this late at most
_SILENT_S: Final = 5.0  # ten polls: who has not polled for so long holds up nobody
_LIMIT_BYTES: Final = 65_536  # of a ticket, and of what a slot's file says


@dataclass(frozen=True, slots=True)
class HeldSlots:
    """Slots that a stage holds: descriptors of their locked files."""

    fds: tuple[int, ...]

    def give_back(self, *, is_clean: bool) -> None:
        """Give them back; if something of the stage may be alive, their files go on naming it."""
        for fd in self.fds:
            if is_clean:
                with contextlib.suppress(OSError):  # then the next one looks for its processes
                    os.ftruncate(fd, 0)
            os.close(fd)


class Slots:
    """Takes the slots of one stage.

    Args:
        layout: the root.
        spec: the run.
        index: the stage's place in it, from 1.
        stage_id: the stage.
        names: the slots that it needs, one of each.
        control: what may end the run while it waits.
        root_id: the root's identity.
    """

    def __init__(
        self,
        layout: Layout,
        spec: RunSpec,
        *,
        index: int,
        stage_id: str,
        names: tuple[str, ...],
        control: Control,
        root_id: str,
    ) -> None:
        self._layout = layout
        self._counts: Mapping[str, int] = {slot.name: slot.count for slot in spec.slots}
        self._run_id = spec.run_id
        self._stage_id = stage_id
        self._names = tuple(sorted(names))
        self._control = control
        self._root_id = root_id
        self._ticket = f"{PRIORITY_LIMIT - spec.priority:04d}.{spec.run_id}.{index:06d}"
        self._polls: dict[str, tuple[int, float]] = {}  # of others: last poll, and when we saw it

    def wait(
        self, deadline_mono_s: float | None, may_begin: Callable[[], bool]
    ) -> StageTask[HeldSlots | None]:
        """Wait for one slot of each name.

        Args:
            deadline_mono_s: when to give up, None for never.
            may_begin: tells whether the stage could begin if it had them.

        Returns:
            The slots; None if the deadline passed or somebody wants the run ended.

        Raises:
            OSError: the slots' files cannot be used.
            TypedError: something else stands in their place.
        """
        wait_s = _FIRST_WAIT_S
        ticket_fd: int | None = None
        try:
            while True:
                if may_begin():
                    if ticket_fd is None:
                        ticket_fd = self._queue()
                    os.utime(ticket_fd)
                    held = self.take()
                    if held is not None:
                        return held
                elif ticket_fd is not None:  # it could not use them: others may have them
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
                    HeldSlots(tuple(fds)).give_back(is_clean=True)
                    return None
                fds.append(fd)
        except (OSError, TypedError):
            HeldSlots(tuple(fds)).give_back(is_clean=True)
            raise
        return HeldSlots(tuple(fds))

    def _take_one(self, name: str) -> int | None:
        for number in range(self._counts.get(name, 1)):
            path = self._layout.slot(name, number)
            fd = take_lock(open_regular(path, os.O_RDWR | os.O_CREAT))
            if fd is None:
                continue
            try:
                if not self._has_living_stage(fd):
                    self._name_holder(fd)
                    return fd
            except OSError:
                os.close(fd)
                raise
            os.close(fd)
        return None

    def _name_holder(self, fd: int) -> None:
        about = {"run_id": self._run_id, "stage": self._stage_id}
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps(about).encode() + b"\n", 0)

    def _has_living_stage(self, fd: int) -> bool:
        """Tell whether a stage whose holder was killed lives on."""
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
        """Take a ticket; others see it only when it is locked and whole."""
        make_private(self._layout.slots, self._layout.slots_waiting)
        path = os.path.join(self._layout.slots_waiting, self._ticket)
        temporary = os.path.join(self._layout.slots_waiting, temporary_name(self._ticket))
        fd = os.open(temporary, CREATE, FILE_MODE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            write_all(fd, json.dumps({"slots": self._names}).encode() + b"\n")
            os.rename(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            os.close(fd)
            raise
        return fd

    def _leave_queue(self, fd: int) -> None:
        with contextlib.suppress(OSError):  # one that stays is unlocked, and does not count
            os.unlink(os.path.join(self._layout.slots_waiting, self._ticket))
        os.close(fd)

    def _is_behind(self) -> bool:
        """Tell whether a living stage that sorts before this one waits for one of its slots."""
        return any(
            name < self._ticket and self._counts_still(name)
            for name in sorted(os.listdir(self._layout.slots_waiting))
            if not name.startswith(".")
        )

    def _counts_still(self, name: str) -> bool:
        path = os.path.join(self._layout.slots_waiting, name)
        try:
            fd = take_lock(open_regular(path, os.O_RDWR))
            if fd is not None:  # its process is dead
                os.unlink(path)
                os.close(fd)
                return False
            fd = open_regular(path, os.O_RDONLY)
            try:
                wanted = JsonReader(parse_object(read_from(fd, 0, _LIMIT_BYTES), path), path)
                polled_ns = os.fstat(fd).st_mtime_ns
            finally:
                os.close(fd)
            if not set(self._names) & set(wanted.texts("slots")):
                return False
        except (OSError, TypedError):
            return False  # gone since it was listed, or no ticket
        now = time.monotonic()
        before, since = self._polls.get(name, (None, now))
        if polled_ns != before:
            since = now
        self._polls[name] = (polled_ns, since)
        return now - since < _SILENT_S
