"""One point: a scenario, one or more crashes, a start, and everything that must hold after it."""

import json
import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.engine.client import Died, Server
from tests.faults.engine.scenario import PROJECT, Scenario
from tests.faults.engine.shim import Crash, Mode, Place, Role, calls, clear
from tests.root import LAUNCHER, Root, alive, kill_all, wait_until
from workers.records.ids import is_run_id
from workers.records.manifest import FINAL

VIEWS = ("status.json", "lease.json", "newest.json")  # not flushed; readers do without them


@dataclass(slots=True, kw_only=True)
class Point:
    """A root, and what happens to it.

    Attributes:
        harmed: a worker may have died, so its run may be lost.
        seen: final statuses that a reader could have seen before a crash, by run id.
    """

    server: Server
    scenario: Scenario
    place: Place
    plants: tuple[str, ...] = ()
    settings: str = ""
    harmed: bool = False
    seen: dict[str, str] = field(default_factory=dict)
    _behind: "subprocess.Popen[str] | None" = None

    def prepare(self) -> None:
        """Make the root, and everything that happens before the crash."""
        self.place.root.mkdir()
        self.place.notes.mkdir()
        root = self._root
        launcher = LAUNCHER
        if self.scenario.engine is not None:
            launcher = "dask"
            self.plants = (*self.plants, "placed")
            (self.place.notes / "engine").mkdir()
            for name in self.scenario.engine:
                (self.place.notes / "engine" / name).touch()
        root.configure("" if self.scenario.batch else PROJECT, self.settings, launcher)
        if self.scenario.batch:
            root.write("batch.toml", self.scenario.batch)
        for words in self.scenario.before:
            assert self._run(words, Crash()).code == 0
        if self.scenario.behind:
            self._behind = root.popen(
                *self.scenario.behind, env={"MARKS": str(self.place.notes / "marks")}
            )
            wait_until(root.stages, "the run in the background is at work")
        if self.place.mount:  # what is older than the scenario has long been on disk
            subprocess.run(["sync", "-f", str(self.place.root)], check=True, timeout=60)

    def run(self, crash: Crash) -> Died:
        """Run the scenario's command line with something at its point."""
        clear(self.place)
        return self._run(self._words(), crash, self.plants)

    def crash(self, crash: Crash) -> bool:
        """Run the scenario's command line to its point; False where the point was not reached."""
        settled = self._words() != list(self.scenario.words)  # it was killed so late before
        died = self.run(crash)
        is_caller = self.scenario.is_hosted and crash.role is Role.SUPERVISOR
        is_safe = crash.role in (Role.SUPERVISOR, Role.TEMPORARY)
        if is_caller or not is_safe or crash.mode is Mode.CUT:
            self.harmed = True
        reached = len(calls(self.place)) >= crash.at
        if died.code is not None:
            allowed = {0} if settled else self.scenario.codes
            assert died.code in allowed or self.harmed, died.errors
            assert "Traceback" not in died.errors, died.errors
        if crash.mode is Mode.CUT:
            kill_all(str(self.place.root))  # with the power, in the same instant
        return reached

    def recover(self) -> None:
        """Start again and check that nothing is lost, doubled or left."""
        self.note_seen()
        words = self._words()
        if words[0] in ("submit", "run"):
            words = ["start", "--once"]
        last = self._run(words, Crash(), self.plants)
        allowed = {0, *self.scenario.codes, *({10, 12} if self.harmed else {10})}
        if self.scenario.is_hosted:
            allowed.add(11)
        assert last.code in allowed, f"{last.code}: {last.errors}"
        assert "Traceback" not in last.errors, last.errors
        if self._behind is not None:
            done = self._root.finish(self._behind)
            assert done.code == 0, done.err
        self._check()

    def end(self) -> None:
        """Kill what a failed point leaves."""
        kill_all(str(self.place.root))
        if self._behind is not None:
            self._behind.communicate()

    def note_seen(self) -> None:
        """Readers see whole records, and what was said; what they see may never change."""
        for path in self.place.root.rglob("*.json"):
            unflushed = self.place.mount and path.name in VIEWS
            if not unflushed and ".building/" not in str(path):  # not in place yet
                json.loads(path.read_text())
        statuses = {}
        for task in self._tasks():
            statuses |= {m["run_id"]: m["status"] for m in self._root.manifests(task)}
        for run_id, status in self.seen.items():
            assert status in ("", statuses.get(run_id)), (
                f"{run_id} was said to be {status} too soon"
            )
        for run_id, status in statuses.items():
            if status in FINAL:
                self.seen.setdefault(run_id, status)

    def _run(self, words: Iterable[str], crash: Crash, plants: tuple[str, ...] = ()) -> Died:
        died = self.server.supervise(list(words), self.place, crash, plants)
        for line in died.printed.splitlines():
            status, *rest = line.split()
            if rest and status in FINAL and is_run_id(rest[0]):  # else a reason
                self.seen.setdefault(rest[0], status)
            elif words and next(iter(words)) == "submit":
                self.seen.setdefault(status, "")  # acknowledged, with no verdict yet
        return died

    def _words(self) -> list[str]:
        """A batch that was settled before the crash would be made anew by starting it again."""
        finished = sum(len(self._history(task)) for task in self._tasks())
        accepted = Path(self._root.layout.accepted)
        settled = accepted.exists() and not self._is_asked_for(set(os.listdir(accepted)))
        if self.scenario.batch and finished == self.scenario.runs_count and settled:
            return ["start", "--once"]
        return list(self.scenario.words)

    def _is_asked_for(self, marked: set[str]) -> bool:
        """One of the runs was asked for by the batch, and not by a run of it."""
        runs = [run for task in self._tasks() for run in self._root.manifests(task)]
        children = {run["run_id"] for run in runs if run["parent_run_id"] is not None}
        return bool(marked - children)

    @property
    def _root(self) -> Root:
        return Root(self.place.root)

    def _tasks(self) -> list[str]:
        runs = self.place.root / ".runs"
        found = os.listdir(runs) if runs.exists() else []
        return [name for name in found if (runs / name / "cli").is_dir()]

    def _history(self, task: str) -> list[dict[str, Any]]:
        path = self.place.root / f"out/{task}/history.ndjson"
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line[-1] == "\n"]

    def _check(self) -> None:
        root, found = self._root, {}
        marks_path = self.place.notes / "marks"
        marks = marks_path.read_text().splitlines() if marks_path.exists() else []
        assert len(marks) == len(set(marks)), "a stage ran twice"
        for task in self._tasks():
            root.check_settled(task)
            for manifest in root.manifests(task):
                found[manifest["run_id"]] = manifest["status"]
                self._check_run(manifest, marks)
        if self.scenario.words[0] == "submit":
            assert len(found) <= 1
        elif not self.harmed:
            assert len(found) == self.scenario.runs_count
        for run_id, status in self.seen.items():
            assert run_id in found, f"{run_id} was acknowledged and is not there"
            assert status in ("", found[run_id]), f"{run_id} was {status}, is {found[run_id]}"
        # A zygote that was just starting when its supervisor was killed takes a moment to see it.
        gone_s = 10.0
        wait_until(lambda: not alive(str(self.place.root)), "nothing of the root is alive", gone_s)

    def _check_run(self, manifest: dict[str, Any], marks: list[str]) -> None:
        expected = self.scenario.expected.get(manifest["pipeline_id"])
        allowed = {expected, "failed"} if self.harmed else {expected}
        if self.harmed and (
            manifest["parent_run_id"]
            or manifest["extensions"]["after"]
            or self.scenario.is_hosted  # its caller was gone before it began
        ):
            allowed.add("cancelled")  # nothing that a lost run asked for outlives it
        assert manifest["status"] in allowed, manifest
        for command in manifest["commands"]:
            made = command["id"] not in manifest["extensions"]["kept"]
            if made and command["kind"] == "command" and command["status"] == "succeeded":
                mark = f"{manifest['run_id']} {command['id']} "
                assert any(line.startswith(mark) for line in marks), f"{mark}never ran"
            for key in ("log_path", "error_file"):
                path = command[key]
                assert path is None or (self.place.root / path).is_file(), f"{path} is not there"
