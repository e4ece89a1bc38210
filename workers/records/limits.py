"""The numbers of the protocol; the unit is in the name, the source in the comment.

PRD: the product document of the seed. Origin: the Node.js system that it describes.
"""

from typing import Final

from workers.records.dataclass import dataclass

HEARTBEAT_LINE_BYTES: Final = 25  # an instant of 24 characters and a newline
HEARTBEAT_FILE_LIMIT_BYTES: Final = 4096  # one disk block: a heartbeat never needs a new one
SUMMARY_LIMIT_CHARS: Final = 240  # docs/reference
RECORD_LIMIT_BYTES: Final = 64 * 1024 * 1024  # a larger file is not a record: refused unread
MARKER_LIMIT_BYTES: Final = 200  # an id of 100 characters, and room
INTEGER_LIMIT: Final = 2**63 - 1  # no count, size or tick of a record is larger
PID_LIMIT: Final = 2**31 - 1  # pid_t; the kernel's own limit is lower
NUMBER_LIMIT: Final = 1e15  # 30 million years in seconds: sums and formats of it stay finite
READ_BUFFER_BYTES: Final = 16_384  # for a log's beginning; its end is read into place
LEFTOVER_GRACE_S: Final = 2.0  # fault P23: a stage ends 2 s after its main process
PRIORITY_LIMIT: Final = 1000  # priorities are from -1000 to 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """A worker's limits; part of the spec, so a run keeps those that it started with."""

    heartbeat_interval_s: float = 5.0  # origin
    heartbeat_stale_after_s: float = 30.0  # origin
    write_deadline_s: float = 10.0  # PRD
    stream_limit_bytes: int = 65_536  # PRD: 64 KiB per stream
    error_detail_limit_bytes: int = 8_192  # PRD: 8 KiB
    error_file_limit_bytes: int = 10_000  # PRD: 10 KB
    grace_s: float = 10.0  # peers: supervisord's stopwaitsecs, docker stop
