"""supervisor.log: whole lines, whatever happened to the one before."""

import json
import resource
from pathlib import Path

import pytest

from supervisor.store.log import Log
from workers.records.atomic import TORN


@pytest.mark.fault("R1")
def test_event_after_full_disk_is_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "supervisor.log"
    log = Log(str(path))
    log.write("first", n=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, hard))
    try:
        log.write("torn", n=2)  # 20 bytes of it are written, then the file may not grow
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert log.lost_count == 1
    log.write("third", n=3)
    lines = path.read_bytes().splitlines(keepends=True)
    assert [json.loads(line)["event"] for line in lines if not line.endswith(TORN)] == [
        "first",
        "third",
    ]
    assert len(lines) == 3
