"""The manifest that was written last, and the same one with a newer heartbeat."""

from workers.records.dataclass import dataclass
from workers.records.json_text import indent_json


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenManifest:
    """The manifest that was written last.

    Attributes:
        basis: all that it was made of, but for its two instants.
        data: its bytes.
        updated_at, heartbeat_at: the instants in it; the second None where it tells no beat.
    """

    basis: tuple[object, ...]
    data: bytes
    updated_at: str
    heartbeat_at: str | None

    def with_beat(self, updated_at: str, heartbeat_at: str | None) -> bytes | None:
        """The same manifest of other instants; None where it has another size."""
        if heartbeat_at is None or self.heartbeat_at is None:
            return None
        data = self.data
        for key, old, new in (
            (b"updated_at", self.updated_at, updated_at),
            (b"heartbeat_at", self.heartbeat_at, heartbeat_at),
        ):
            before, after = _field(key, old), _field(key, new)
            if len(before) != len(after) or data.count(before) != 1:
                return None
            data = data.replace(before, after)
        return data


def _field(key: bytes, instant: str) -> bytes:
    """One field as ``to_bytes`` writes it at the top of a record, and nowhere else."""
    return b'\n  "%s": %s,\n' % (key, indent_json(instant).encode())
