"""Records torn, flipped, foreign, deep or endless: never a crash, never in the way, always told."""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from supervisor.cli import run as supervisor
from supervisor.report.verify.verify_root import verify
from tests.faults.damage import RECORDS, accept, spec_in
from tests.faults.test_in_the_way import CODES
from tests.root import Root
from workers.records.history import read_lines
from workers.records.spec import RunSpec

SEED = 20_261_124
SLOW = pytest.mark.slow
Damage = Callable[[bytes], bytes]
DAMAGES: dict[str, Damage] = {
    "empty": lambda _: b"",
    "half": lambda data: data[: len(data) // 2],
    "zeros": lambda data: bytes(len(data)),
    "zeros behind": lambda data: data + bytes(4096),
    "no JSON": lambda _: b"not json\n",
    "latin": lambda data: data.replace(b'"', b'\xe4"', 1),
    "mark": lambda data: b"\xef\xbb\xbf" + data,
    "wide": lambda data: data.decode().encode("utf-16"),
    "NaN": lambda data: data.replace(b": ", b": NaN, ", 1),
    "deep": lambda _: b"[" * 100_000 + b"]" * 100_000,
    "long number": lambda _: b'{"seq": ' + b"9" * 5_000 + b"}\n",
    "twice": lambda data: data.replace(b"{", b'{"status": 7, "status": [], ', 1),
    "list": lambda _: b"[]\n",
    "null": lambda _: b"null\n",
    "other kinds": lambda _: json.dumps(KINDS).encode() + b"\n",
}
KINDS = {
    "schema": "pipeline-supervisor/spec/1",
    "version": 1,
    "status": "failed",
    "event": "verdict",
    "by": 1,
    "runs": [[], 7, {"runId": None}],
    "totals": [],
    "extensions": [],
    "commands": [None],
    "run_id": {},
    "task_id": [],
    "identity": "x",
    "history_bytes": -1,
}
RUNS = ["spec", "journal", "manifest", "marker"]
FILES = [*RUNS, "history", "state", "metrics"]
"""Of a run that has begun, and of a task whose first run has finished."""


def flips(data: bytes, chance: random.Random) -> bytes:
    """The same with one bit changed, or cut off anywhere."""
    at = chance.randrange(len(data))
    if chance.random() < 0.5:
        return data[:at]
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def damages(count: int) -> dict[str, Damage]:
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    return {**DAMAGES, **{f"flip {n}": lambda data: flips(data, chance) for n in range(count)}}


def fleet(root: Root, names: list[str]) -> list[tuple[Path, RunSpec]]:
    """For each name a task with a finished run and one that has begun; the files so called."""
    first = [spec_in(f"t{n:03}", n) for n in range(len(names))]
    accept(root, first, begun=True, ended=True)
    assert root.call("start", "--once").code == 0
    second = [spec_in(f"t{n:03}", 1000 + n) for n in range(len(names))]
    accept(root, second, begun=True)
    found = []
    for name, spec in zip(names, second, strict=True):
        run = root.layout.run_dir(spec.task_id, spec.run_id)
        found.append((Path(RECORDS[name](root.layout, run, spec.task_id)), spec))
    return found


@pytest.mark.fault("F15", "F20")
@pytest.mark.parametrize("flips_count", [3, pytest.param(200, marks=SLOW)])
@pytest.mark.timeout(1800)
def test_readers_bear_any_damage_and_verify_names_it(
    root: Root, capsys: pytest.CaptureFixture[str], flips_count: int
) -> None:
    files = fleet(root, FILES)
    assert list(verify(root.layout)) == []
    for name, (path, spec) in zip(FILES, files, strict=True):
        before = path.read_bytes()
        for what, damage in damages(flips_count).items():
            path.write_bytes(damage(before))
            for words in (["status"], ["status", spec.run_id], ["show", spec.run_id], ["verify"]):
                code = supervisor([*words, "--root", str(root.path)])
                assert code in CODES, (name, what, words, capsys.readouterr().err[-2000:])
            told = capsys.readouterr().out
            if name in ("manifest", "state", "spec") and what in DAMAGES and what != "twice":
                assert str(path.parent) in told, (name, what)
        path.write_bytes(before)
    assert list(verify(root.layout)) == []


@pytest.mark.fault("F15")
@pytest.mark.parametrize(("step", "flips_count"), [(4, 1), pytest.param(1, 30, marks=SLOW)])
@pytest.mark.timeout(1800)
def test_a_start_bears_any_damage_and_keeps_what_it_replaces(
    root: Root, capsys: pytest.CaptureFixture[str], step: int, flips_count: int
) -> None:
    made = dict(list(damages(flips_count).items())[1::step])
    files = fleet(root, [name for _ in made for name in FILES])
    each = [(what, damage, name) for what, damage in made.items() for name in FILES]
    for (_, damage, _), (path, _) in zip(each, files, strict=True):
        path.write_bytes(damage(path.read_bytes()))
    done = root.call("start", "--once")
    assert "Traceback" not in done.err, done.err
    assert done.code == 12, done.err
    assert os.listdir(root.layout.accepted) == []
    for (what, _, name), (path, spec) in zip(each, files, strict=True):
        lines = [line for _, line in read_lines(root.layout.history(spec.task_id))]
        told = [line["status"] for line in lines if line.get("runId") == spec.run_id]
        manifest = json.loads(
            Path(root.layout.run_dir(spec.task_id, spec.run_id).manifest).read_text()
        )
        assert told == [manifest["status"]], (what, name)
        assert root.state(spec.task_id)["totals"]["runs"] >= 1
        if name == "manifest" and what in ("empty", "half", "zeros", "no JSON", "deep", "list"):
            assert path.with_name("manifest.json.corrupt-1").exists(), what
    assert root.call("start", "--once").code == 0
    assert supervisor(["verify", "--root", str(root.path)]) == 65
    capsys.readouterr()
