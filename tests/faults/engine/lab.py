"""Going through the points of a scenario, each in a root of its own."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.engine.client import Server
from tests.faults.engine.disk import Disk
from tests.faults.engine.point import Point
from tests.faults.engine.scenario import Scenario
from tests.faults.engine.shim import Crash, Mode, Place, Role, calls

LAST_CALL = 300  # more than any scenario has
STRIDE = 13


@dataclass(slots=True, kw_only=True)
class Lab:
    """Where points are made.

    Attributes:
        server: forks the supervisors.
        directory: for roots and notes; nothing else may be in it.
        disk: where the roots are if the power is going to be cut.
    """

    server: Server
    directory: Path
    disk: Disk | None = None
    plants: tuple[str, ...] = ()
    skip: str = ""
    _count: int = field(default=0)

    def every(
        self,
        scenario: Scenario,
        *,
        mode: Mode,
        role: Role = Role.SUPERVISOR,
        first: int = 1,
        step: int = 1,
    ) -> int:
        """Crash at every ``step``-th call from the ``first`` on, until there is none.

        Returns:
            How many points there were; it is printed too.
        """
        at, count = first, 0
        while self.at(scenario, Crash(at=at, mode=mode, role=role)):
            at += step
            count += 1
        print(f"{count} points: {role.name.lower()}, {mode}, from call {first} in steps of {step}")
        return count

    def at(self, scenario: Scenario, *crashes: Crash) -> bool:
        """Crash at each of the points in turn, recover and check; False where the last was none."""
        point = self.point(scenario)
        point.prepare()
        reached = True
        for crash in crashes:
            reached = point.crash(crash)
            if self.disk is not None and crash.mode is Mode.CUT:
                if not reached:
                    self.disk.cut()  # right after the end, which no call comes after
                self.disk.power_up()
            if not reached:
                break
        call = (calls(point.place) or ["nowhere"])[-1]
        try:
            point.recover()
        except Exception as error:
            point.end()
            error.add_note(f"crashed at: {call}; the root: {point.place.root}")
            raise
        self.remove(point)
        return reached

    def remove(self, point: Point) -> None:
        """Throw away what a point left on disk."""
        shutil.rmtree(point.place.root)
        shutil.rmtree(point.place.notes)

    def finds(self, scenario: Scenario, *, mode: Mode, role: Role = Role.SUPERVISOR) -> str:
        """Go through points, the far ones first, until one fails, as it must with a planted bug.

        Returns:
            What the failing point said, "" where none failed.
        """
        last = LAST_CALL
        for start in range(STRIDE):
            for at in range(1 + (start * 5) % STRIDE, last, STRIDE):
                try:
                    if not self.at(scenario, Crash(at=at, mode=mode, role=role)):
                        last = at
                        break
                except Exception as error:  # noqa: BLE001 - whatever it is, it is a find
                    notes = " ".join(getattr(error, "__notes__", ()))
                    return f"{type(error).__name__}: {error} {notes}"
        return ""

    def point(self, scenario: Scenario) -> Point:
        """A new place for a point."""
        self._count += 1
        base = self.directory if self.disk is None else self.disk.mount
        place = Place(
            root=base / f"root{self._count}",
            notes=self.directory / f"notes{self._count}",
            mount="" if self.disk is None else str(self.disk.mount),
            skip=self.skip,
        )
        return Point(server=self.server, scenario=scenario, place=place, plants=self.plants)
