"""The numbers of the protocol, each with its unit in its name and its source beside it.

PRD: the seed's product document. Origin: the Node.js system that the document describes.
"""

from typing import Final

from workers.records.dataclass import dataclass

HEARTBEAT_LINE_BYTES: Final = 25  # 24 characters of instant and a newline
HEARTBEAT_FILE_LIMIT_BYTES: Final = 4096  # one disk block: beating never needs a new one
SUMMARY_LIMIT_CHARS: Final = 240  # docs/reference
RECORD_LIMIT_BYTES: Final = 64 * 1024 * 1024  # larger is not a record of ours: refused unread
MARKER_LIMIT_BYTES: Final = 200  # an id of 100 characters, and room
INTEGER_LIMIT: Final = 2**63 - 1  # no count, size or tick of ours is larger
PID_LIMIT: Final = 2**31 - 1  # pid_t; the kernel's own limit is lower
NUMBER_LIMIT: Final = 1e15  # thirty million years: sums and formats of it stay finite
READ_BUFFER_BYTES: Final = 16_384  # for a log's beginning; its end is read into its place
LEFTOVER_GRACE_S: Final = 2.0  # fault P23: a stage is over 2 s after its main process
PRIORITY_LIMIT: Final = 1000  # as far as words for it go: nobody needs two thousand kinds of urgent


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a worker holds itself to; part of the spec, so that a run keeps what it began with."""

    heartbeat_interval_s: float = 5.0  # origin
    heartbeat_stale_after_s: float = 30.0  # origin
    write_deadline_s: float = 10.0  # PRD
    stream_limit_bytes: int = 65_536  # PRD: 64 KiB per stream
    error_detail_limit_bytes: int = 8_192  # PRD: 8 KiB
    error_file_limit_bytes: int = 10_000  # PRD: 10 KB
    grace_s: float = 10.0  # peers: supervisord's stopwaitsecs, docker stop
