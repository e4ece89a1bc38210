"""Runs made by hand, and what can stand in the place of one of their records."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

from supervisor.store.intake import Intake
from tests.examples import run_spec, stage
from tests.root import Root
from workers.records.clock import SystemClock
from workers.records.ids import new_run_id
from workers.records.journal import Event, JournalWriter
from workers.records.layout import Layout, RunDir
from workers.records.limits import Limits
from workers.records.spec import PipelineSpec, RunSpec

RECORDS: dict[str, Callable[[Layout, RunDir, str], str]] = {
    "spec": lambda _, run, __: run.spec,
    "owner": lambda _, run, __: run.owner,
    "journal": lambda _, run, __: run.journal,
    "heartbeat": lambda _, run, __: run.heartbeat,
    "manifest": lambda _, run, __: run.manifest,
    "cancel": lambda _, run, __: run.cancel,
    "commands": lambda _, run, __: run.commands,
    "errors": lambda _, run, __: run.errors,
    "marker": lambda layout, run, _: layout.marker(run.run_id),
    "history": lambda layout, _, task: layout.history(task),
    "state": lambda layout, _, task: layout.state(task),
    "metrics": lambda layout, _, task: layout.metrics(task),
}
"""Everything that belongs to one run and its task, by name."""

OWN: dict[str, Callable[[Layout], str]] = {
    "status": lambda layout: layout.status,
    "lease": lambda layout: layout.lease,
    "log": lambda layout: layout.log,
    "workers.log": lambda layout: os.path.join(layout.control, "workers.log"),
    "request": lambda layout: os.path.join(layout.inbox, "2026-01-01T00-00-00-000Z-0.json"),
}
"""The supervisor's own files."""


def spec_in(task: str, number: int) -> RunSpec:
    """A run of one quick stage; the numbers order the ids."""
    return run_spec(
        run_id=new_run_id(epoch_s=1_790_000_000.0 + number, entropy=number.to_bytes(4, "big")),
        task_id=task,
        pipeline=PipelineSpec(id="p", title="P", stages=(stage("s", command="true"),)),
        pipelines=(),
        limits=Limits(heartbeat_interval_s=0.1, grace_s=1.0),
    )


def accept(root: Root, specs: list[RunSpec], *, begun: bool, ended: bool = False) -> None:
    """Put runs on disk as accepted; ``begun`` and ``ended`` by a worker of an earlier boot."""
    for reader in Intake(root.layout, SystemClock()).accept(specs):
        if begun:
            journal = JournalWriter(reader.run.journal, by="worker", clock=SystemClock())
            was = {"host": "gone", "boot_id": "gone", "pid": 4711, "start_ticks": 1}
            journal.append(Event.RUN_STARTED, {"identity": was, "attempt": 1})
            if ended:
                journal.append(Event.VERDICT, {"status": "succeeded", "detail": None})
            journal.close()


def put(path: Path, kind: str, elsewhere: Path) -> None:
    """Let something else stand there: a directory, a FIFO, a socket, or a link to ``elsewhere``."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.is_dir() and not path.is_symlink():
        path.rename(path.with_name(path.name + "-was"))
    path.unlink(missing_ok=True)
    if kind == "directory":
        path.mkdir(mode=0o700)
        (path / "inside").write_text("mine")
    elif kind == "fifo":
        os.mkfifo(path, 0o600)
    elif kind == "socket":
        before = Path.cwd()
        os.chdir(path.parent)  # a socket's name is bounded to 108 bytes
        try:
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(path.name)
        finally:
            os.chdir(before)
    else:
        path.symlink_to(elsewhere)
