"""Running the worker program without a supervisor."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.store.intake import Intake
from tests.examples import stage
from workers.records.clock import SystemClock, utc_text
from workers.records.ids import new_run_id
from workers.records.layout import Layout, RunDir
from workers.records.limits import Limits
from workers.records.spec import PipelineSpec, RunSpec, StageSpec

DEADLINE_S = 60.0
STARTED: "list[subprocess.Popen[bytes]]" = []  # the fixture of conftest.py reaps them
SPAWN_IGNORES = 0b11 << 31  # 32 and 33, which glibc keeps for itself and ignores in what it spawns


@dataclass
class Run:
    """A run's directory, and what its worker left there."""

    root: Path
    run: RunDir
    code: int = -1

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in Path(self.run.journal).read_text().splitlines()]

    def of(self, event: str) -> list[dict[str, Any]]:
        return [e for e in self.events() if e["event"] == event]

    @property
    def verdict(self) -> dict[str, Any]:
        (verdict,) = self.of("verdict")
        return verdict

    def log(self, index: int, stage_id: str, stream: str = "stdout") -> bytes:
        return Path(self.run.stage_log(index, stage_id, stream)).read_bytes()

    def error(self, index: int, stage_id: str) -> dict[str, Any]:
        data = Path(self.run.error_file(index, stage_id)).read_bytes()
        assert len(data) <= 10_000
        value: dict[str, Any] = json.loads(data)
        return value

    def start(self, *arguments: str, pass_fds: tuple[int, ...] = ()) -> "subprocess.Popen[bytes]":
        return self._start(["-m", "workers", self.run.path, *arguments], pass_fds)

    def start_script(self, script: str, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start a worker that a script has broken in one place; its argument is the run."""
        return self._start(["-c", script, self.run.path, *arguments], ())

    def _start(self, arguments: list[str], pass_fds: tuple[int, ...]) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=pass_fds,
        )
        STARTED.append(process)
        return process


def make(root: Path, stages: Sequence[StageSpec], **values: Any) -> Run:
    """Put a run on disk as the supervisor does."""
    limits = values.pop("limits", Limits(heartbeat_interval_s=0.1, grace_s=0.5))
    pipelines = values.pop("pipelines", ())
    spec = RunSpec(
        run_id=new_run_id(epoch_s=time.time(), entropy=os.urandom(4)),
        task_id="t",
        pipeline=PipelineSpec(id="p", title="P", stages=tuple(stages), **values),
        pipelines=pipelines,
        asked_by="start",
        asked_at=utc_text(time.time()),
        resume_token="00",
        limits=limits,
        secrets=("SECRET",),
    )
    (reader,) = Intake(Layout(str(root)), SystemClock()).accept([spec])
    return Run(root, reader.run)


def work(root: Path, *stages: StageSpec, **values: Any) -> Run:
    """Make a run and let its worker work to the end."""
    run = make(root, stages, **values)
    process = run.start()
    _, err = process.communicate(timeout=DEADLINE_S)
    run.code = process.returncode
    assert b"Traceback" not in err, err.decode()
    return run


def shell(command: str, stage_id: str = "s", **values: Any) -> StageSpec:
    return stage(stage_id, command=command, **values)
