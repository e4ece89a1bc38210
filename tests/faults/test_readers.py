"""Readers see complete records during writes, and need no lock."""

import json
import multiprocessing
import os
import signal
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from tests.root import Root, wait_until
from workers.records.atomic import replace_file, to_bytes
from workers.records.files import read_object

REPLACES_COUNT = 1_000
READS_COUNT = 10_000


def _replace(path: str) -> None:
    for number in range(1, REPLACES_COUNT + 1):
        replace_file(path, to_bytes({"number": number, "pad": "x" * (number * 37 % 9_000)}))


@pytest.mark.fault("F30")
def test_concurrent_reader_sees_the_old_or_the_new_record(tmp_path: Path) -> None:
    path = str(tmp_path / "record.json")
    replace_file(path, to_bytes({"number": 0}))
    writer = multiprocessing.get_context("spawn").Process(target=_replace, args=(path,))
    writer.start()
    last = 0
    try:
        for _ in range(READS_COUNT):
            number = read_object(path)["number"]
            assert number >= last, "a record went back"
            last = number
    finally:
        writer.join()
    assert writer.exitcode == 0
    assert read_object(path)["number"] == REPLACES_COUNT
    assert os.listdir(tmp_path) == ["record.json"]


@pytest.mark.fault("F31", "F30")
def test_copies_made_during_runs_have_only_complete_records(root: Root, tmp_path: Path) -> None:
    process = root.serving()
    run_ids = [root.call("submit", "--", "sleep", "0.3").out.strip() for _ in range(4)]
    count = 0
    while len(root.history() if (root.path / "out/default/history.ndjson").exists() else []) < 4:
        copy = tmp_path / f"copy{count}.tar"
        subprocess.run(
            ["tar", "--ignore-failed-read", "-cf", copy, ".runs", "out"],
            cwd=root.path,
            capture_output=True,
        )
        with tarfile.open(copy) as archive:
            for member in archive:
                if member.isfile() and member.name.endswith(".json"):
                    file = archive.extractfile(member)
                    assert file is not None
                    json.loads(file.read())
        copy.unlink()
        count += 1
    print(f"{count} copies")
    assert root.call("wait", *run_ids).code == 0
    process.send_signal(signal.SIGTERM)
    root.finish(process)
    root.check_settled(count=4)


@pytest.mark.fault("F21")
@pytest.mark.parametrize("shift_s", [86_400, -86_400])
def test_heartbeat_with_a_wrong_time_decides_nothing(root: Root, shift_s: int) -> None:
    process = root.serving()
    go = root.path / "go"
    run_id = root.call(
        "submit", "--", "sh", "-c", f"until [ -e {go} ]; do sleep 0.02; done"
    ).out.strip()
    wait_until(root.stages, "the run is at its stage")
    beat = root.layout.run_dir("default", run_id).heartbeat
    at = time.time() + shift_s
    for _ in range(20):
        os.utime(beat, (at, at))
        row = root.call("status", run_id, "--json").json()["runs"][0]
        assert row["status"] == "in_progress"
        assert row["note"] in (None, "late")
    go.touch()
    assert root.call("wait", run_id).code == 0
    process.send_signal(signal.SIGTERM)
    root.finish(process)
    root.check_settled(count=1)


@pytest.mark.fault("F18")
def test_foreign_temporary_file_does_not_block_writes(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    for name in ("record.json.tmp", ".record.json.tmp", f".record.json.{os.getpid()}.tmp"):
        (tmp_path / name).mkdir()
    replace_file(str(path), to_bytes({"number": 1}))
    assert read_object(str(path)) == {"number": 1}
