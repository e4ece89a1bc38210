"""Every record and request with a value of another type: no reader ends with a traceback."""

import contextlib
import fcntl
import json
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from supervisor.cli import run as supervisor
from tests.faults.mutations import mutations, text_of
from tests.faults.test_in_the_way import CODES
from tests.root import Root, kill_all, wait_until
from workers.records.layout import RunDir

SEED = 20_261_127
WAIT_CODES = CODES | {124}
PIPELINES = """
[pipelines.good]
stages = [{ id = "s", command = "echo x; echo y >&2", summary_hint = "fine" }]
[pipelines.bad]
[[pipelines.bad.stages]]
id = "s"
command = "echo oops >&2; exit 3"
retries = { attempts = 2, delay_s = 0.01 }
[[pipelines.bad.stages]]
id = "after"
needs = ["s"]
command = "true"
[pipelines.parent]
on_finish = "echo told"
resources = { slot = 1 }
[[pipelines.parent.stages]]
id = "kid"
pipeline = "good"
[[pipelines.parent.stages]]
id = "bad"
pipeline = "bad"
optional = true
[[pipelines.parent.stages]]
id = "s"
command = "echo said"
uses = ["disk"]
env = { A = "1" }
[pipelines.parent.params.what]
choices = ["this", "that"]
default = "this"
[pipelines.wait]
on_finish = "true"
stages = [{ id = "s", command = "sleep 600", uses = ["disk"] }]
"""
SETTINGS = """
[supervisor.slots]
disk = 1
[supervisor.groups]
g = 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A root with one record of each kind.

    Attributes:
        records: the file of each kind, and where in a file of lines the record is.
        run_of: the run that a kind is about.
    """

    root: Root
    records: dict[str, tuple[Path, int | None]]
    run_of: dict[str, str]


def run_dir(root: Root, run_id: str) -> RunDir:
    return root.layout.run_dir("default", run_id)


def staged(root: Root) -> Scene:
    """A finished family, a run that was under way when all was killed, and one that waits."""
    root.configure(PIPELINES, settings=SETTINGS)
    server = root.serving()
    done = root.call("run", "parent", "--group", "g")
    assert done.code in (0, 10), done.err
    live = root.call("submit", "wait").out.strip()
    root.wait_for_status(live, "in_progress")
    queued = root.call("submit", "wait", "--after", live).out.strip()
    root.call("pause", "--group", "g")
    status = Path(root.layout.status)
    wait_until(lambda: live in status.read_text(), "the view tells of it")
    server.kill()
    server.wait()
    later = root.call("submit", "good").out.strip()
    kill_all(str(root.path))
    finished = next(m["run_id"] for m in root.manifests() if m["pipeline_id"] == "parent")
    child = next(m["run_id"] for m in root.manifests() if m["pipeline_id"] == "bad")
    (request,) = Path(root.layout.inbox).glob("*.json")
    at_work, over, failed = (run_dir(root, run_id) for run_id in (live, finished, child))
    Path(at_work.cancel).write_text('{"detail": "cancelled-by-user"}')
    (Path(at_work.path) / "placement.json").write_text(
        '{"schema": "pipeline-supervisor/placement/1", "attempt": 1, "launcher": "dask",'
        ' "resources": {"slot": 1}}'
    )
    identity = {"host": "elsewhere", "boot_id": "b", "pid": 4711, "start_ticks": 1}
    claim = {"by": "worker", "identity": identity, "pid_ns": 4, "at": "2026-01-01T00:00:00.000Z"}
    end = {"ended_at": claim["at"], "exit_code": 0, "signal": None, "leftover_pids": [1]}
    Path(at_work.claim(1)).write_text(json.dumps(claim) + "\n" + json.dumps(end) + "\n")
    (error_file,) = Path(failed.errors).glob("*.json")
    records: dict[str, tuple[Path, int | None]] = {
        "spec": (Path(over.spec), None),
        "manifest": (Path(over.manifest), None),
        "hook": (Path(over.path) / "hooks/on_finish.json", None),
        "spec of a live run": (Path(at_work.spec), None),
        "manifest of a live run": (Path(at_work.manifest), None),
        "placement": (Path(at_work.path) / "placement.json", None),
        "claim": (Path(at_work.claim(1)), 0),
        "end in a claim": (Path(at_work.claim(1)), 1),
        "cancel": (Path(at_work.cancel), None),
        "error": (error_file, None),
        "manifest of a failed run": (Path(failed.manifest), None),
        "state": (Path(root.layout.state("default")), None),
        "metrics": (Path(root.layout.metrics("default")), None),
        "status": (status, None),
        "lease": (Path(root.layout.lease), None),
        "paused": (Path(root.layout.paused), None),
        "request": (request, None),
    }
    run_of = dict.fromkeys(records, live)
    run_of |= dict.fromkeys(("spec", "manifest", "hook"), finished)
    run_of |= dict.fromkeys(("error", "manifest of a failed run"), child)
    run_of["request"] = later
    for name, run in (("journal", over), ("journal of a failed run", failed)):
        for line in range(len(Path(run.journal).read_bytes().splitlines())):
            records[f"{name}, line {line}"] = (Path(run.journal), line)
            run_of[f"{name}, line {line}"] = run.run_id
    for line in range(len(Path(root.layout.history("default")).read_bytes().splitlines())):
        records[f"history, line {line}"] = (Path(root.layout.history("default")), line)
        run_of[f"history, line {line}"] = finished
    assert queued
    return Scene(root=root, records=records, run_of=run_of)


@contextlib.contextmanager
def changed(scene: Scene, kind: str, record: Any) -> Iterator[None]:
    """The record is on disk so, for a moment."""
    path, line = scene.records[kind]
    before = path.read_bytes()
    lines = before.splitlines(keepends=True)
    if line is None:
        path.write_bytes(text_of(record))
    else:
        path.write_bytes(b"".join([*lines[:line], text_of(record) + b"\n", *lines[line + 1 :]]))
    try:
        yield
    finally:
        path.write_bytes(before)


def original(scene: Scene, kind: str) -> Any:
    path, line = scene.records[kind]
    data = path.read_bytes()
    return json.loads(data if line is None else data.splitlines()[line])


def readers(run_id: str) -> Iterator[tuple[str, ...]]:
    """Every verb that reads, about everything and about one run."""
    yield ("status",)
    yield ("status", "--json")
    yield ("status", run_id)
    yield ("status", run_id, "--json")
    yield ("show", run_id)
    yield ("show", run_id, "--json")
    yield ("show", run_id, "--timing")
    yield ("show", "latest", "--timing", "--json")
    yield ("report", run_id, "-o", "-")
    yield ("report", "--task", "default", "-o", "-")
    yield ("metrics",)
    yield ("metrics", "--json")
    yield ("gc",)
    yield ("wait", run_id, "--timeout", "0")
    yield ("events", run_id)
    yield ("logs", run_id)
    yield ("logs", "latest", "--tail", "1")
    yield ("doctor", "--json")
    yield ("verify",)


Report = Callable[[], tuple[str, str]]


def check_readers(scene: Scene, kind: str, sample: int | None, seen: Report) -> list[str]:
    """Every reader over every mutation of a kind; returns what went wrong."""
    wrong = []
    chance = random.Random(f"{SEED} {kind}")
    for mutation in mutations(original(scene, kind), sample, chance):
        with changed(scene, kind, mutation.record):
            for words in readers(scene.run_of[kind]):
                code = supervisor([*words, "--root", str(scene.root.path)])
                out, err = seen()
                if code not in WAIT_CODES or "Traceback" in err:
                    last = err.strip().splitlines()[-2:] if err.strip() else [""]
                    wrong.append(f"{kind}: {mutation}: {' '.join(words)}: exit {code}: {last}")
                if words == ("verify",) and code not in (0, 65):
                    wrong.append(f"{kind}: {mutation}: verify says {code}: {out}")
    return wrong


@pytest.mark.fault("R4")
@pytest.mark.parametrize(
    "sample",
    [1, pytest.param(25, marks=pytest.mark.slow), pytest.param(None, marks=pytest.mark.slow)],
)
@pytest.mark.timeout(7200)
def test_value_of_another_type_ends_no_reader(
    root: Root, capsys: pytest.CaptureFixture[str], sample: int | None
) -> None:
    scene = staged(root)
    print(f"seed {SEED}")

    def seen() -> tuple[str, str]:
        told = capsys.readouterr()
        return told.out, told.err

    wrong = [line for kind in scene.records for line in check_readers(scene, kind, sample, seen)]
    with open(root.layout.lease_lock, "rb") as lock:  # as if a supervisor were up: views count
        fcntl.flock(lock, fcntl.LOCK_EX)
        for kind in ("status", "lease", "paused"):
            wrong += check_readers(scene, kind, sample and 4 * sample, seen)
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


@pytest.mark.fault("C20", "R4")
@pytest.mark.parametrize("sample", [60, pytest.param(None, marks=pytest.mark.slow)])
@pytest.mark.timeout(7200)
def test_mutated_requests_are_done_or_quarantined_and_the_last_one_is_served(
    root: Root, sample: int | None
) -> None:
    root.configure(PIPELINES, settings=SETTINGS)
    inbox = Path(root.layout.inbox)
    asked = {"runs": ["submit", "parent"], "pause": ["pause", "--group", "g"]}
    originals = []
    for words in asked.values():
        assert root.call(*words).code == 0
        (path,) = inbox.glob("*.json")
        originals.append(json.loads(path.read_bytes()))
        path.unlink()
    who = {"host": "h", "boot_id": "b", "pid": 7, "start_ticks": 1}
    originals.append({**originals[1], "kind": "stop", "supervisor": who})
    run_id = originals[0]["runs"][0]["run_id"]
    originals.append({**originals[1], "kind": "cancel", "run_ids": [run_id]})
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    count = 0
    for original in originals:
        for mutation in mutations(original, sample, chance):
            (inbox / f"2020-01-01T00-00-00-000Z-{count:08x}.json").write_bytes(
                text_of(mutation.record)
            )
            count += 1
    (inbox / "2020-01-01T00-00-00-000Z-ffffffff.json").mkdir()
    assert root.call("resume").code == 0
    good = root.call("submit", "good").out.strip()
    for words in (["status"], ["verify"], ["show", good], ["events", good]):
        done = root.call(*words)
        assert done.code in CODES, done.err
    done = root.call("start", "--once")
    assert "Traceback" not in done.err, done.err
    assert done.code in CODES, done.err
    ended = {m["run_id"]: m["status"] for m in root.manifests()}
    assert ended[good] == "succeeded"
    assert os.listdir(inbox) == []
    rejected = len(os.listdir(root.layout.rejected))
    assert count // 3 < rejected <= count + 1
