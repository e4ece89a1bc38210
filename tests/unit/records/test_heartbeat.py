from pathlib import Path

from workers.records.clock import utc_text
from workers.records.heartbeat import HeartbeatWriter, last_beat


def test_newest_heartbeat_is_the_last_line_and_the_file_stays_in_one_block(
    tmp_path: Path,
) -> None:
    path = tmp_path / ".heartbeat"
    writer = HeartbeatWriter(str(path))
    for second in range(1000):
        writer.beat(float(second))
        data = path.read_bytes()
        assert len(data) <= 4096
        assert len(data) % 25 == 0
        assert data.splitlines()[-1].decode() == utc_text(second)
        assert last_beat(str(path)) == utc_text(second)
    writer.close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_heartbeat_formats_every_instant_like_other_records(tmp_path: Path) -> None:
    path = tmp_path / ".heartbeat"
    writer = HeartbeatWriter(str(path))
    for millis in (0, 999, 59_999, 60_000, 60_001, 1_761_951_395_120, 59_999, 253_402_300_799_000):
        writer.beat(millis / 1000)
        assert last_beat(str(path)) == utc_text(millis / 1000)
    for strange in (-1e12, -0.5, 1e15):  # a clock that is broken spoils a date and nothing else
        writer.beat(strange)
        assert path.stat().st_size % 25 == 0
    writer.close()


def test_missing_or_torn_heartbeat_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / ".heartbeat"
    assert last_beat(str(path)) is None
    path.write_text(f"{utc_text(1)}\n{utc_text(2)[:5]}")
    assert last_beat(str(path)) == utc_text(1)
    writer = HeartbeatWriter(str(path))
    writer.beat(3.0)
    writer.close()
    assert path.read_text() == f"{utc_text(1)}\n{utc_text(3)}\n"
