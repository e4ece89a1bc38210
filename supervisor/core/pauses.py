"""What the operator has paused: everything, or groups. It holds new starts and nothing else."""

from dataclasses import field, replace
from typing import Any

from workers.records.dataclass import dataclass
from workers.records.json_reader import JsonReader
from workers.records.typed_errors import BadRecordError


@dataclass(frozen=True, slots=True, kw_only=True)
class Pauses:
    """The pauses in force.

    Attributes:
        since: when everything was paused, RFC 3339 UTC; None where it is not.
        groups: the same of each paused group, by its name.
    """

    since: str | None = None
    groups: tuple[tuple[str, str], ...] = field(default=())

    def paused(self, group: str | None, *, at: str) -> "Pauses":
        """With one more pause, of everything where ``group`` is None; an older one stands."""
        if group is None:
            return replace(self, since=self.since or at)
        if group in dict(self.groups):
            return self
        return replace(self, groups=(*self.groups, (group, at)))

    def resumed(self, group: str | None) -> "Pauses":
        """Without the pause of one group, or without any."""
        if group is None:
            return Pauses()
        return replace(self, groups=tuple(pair for pair in self.groups if pair[0] != group))

    def is_paused(self, group: str | None) -> bool:
        """Tell whether a run of a group (None: of no group) may not start."""
        return self.since is not None or any(name == group for name, _ in self.groups)

    def __bool__(self) -> bool:
        """Tell whether anything is paused."""
        return self.since is not None or bool(self.groups)

    def to_json(self) -> dict[str, Any]:
        """As records hold it."""
        return {"since": self.since, "groups": dict(self.groups)}

    @staticmethod
    def from_fields(read: JsonReader) -> "Pauses":
        """Read what ``to_json`` wrote; BadRecordError where it is something else."""
        return Pauses(since=read.text_or_none("since"), groups=read.pairs("groups"))


def pauses_of_status(value: object) -> Pauses:
    """The pauses that a view tells of, none where it tells nothing that can be read."""
    if not isinstance(value, dict):
        return Pauses()
    try:
        return Pauses.from_fields(JsonReader(value, "status.json"))
    except BadRecordError:
        return Pauses()
