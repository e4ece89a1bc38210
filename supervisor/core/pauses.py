"""What the operator has paused: everything, or groups. A pause delays starts and nothing else."""

from dataclasses import field, replace
from typing import Any

from workers.records.dataclass import dataclass
from workers.records.json_reader import JsonReader
from workers.records.typed_errors import BadRecordError


@dataclass(frozen=True, slots=True, kw_only=True)
class Pauses:
    """The pauses in force; instants are RFC 3339 UTC.

    Attributes:
        since: when everything was paused, None if it is not.
        groups: name and instant of each paused group.
    """

    since: str | None = None
    groups: tuple[tuple[str, str], ...] = field(default=())

    def paused(self, group: str | None, *, at: str) -> "Pauses":
        """With a pause of one group, or of everything (None); an older pause keeps its instant."""
        if group is None:
            return replace(self, since=self.since or at)
        if group in dict(self.groups):
            return self
        return replace(self, groups=(*self.groups, (group, at)))

    def resumed(self, group: str | None) -> "Pauses":
        """Without the pause of one group, or without any (None)."""
        if group is None:
            return Pauses()
        return replace(self, groups=tuple(pair for pair in self.groups if pair[0] != group))

    def is_paused(self, group: str | None) -> bool:
        """Whether runs of a group (None: of no group) may not start."""
        return self.since is not None or any(name == group for name, _ in self.groups)

    def __bool__(self) -> bool:
        """Whether anything is paused."""
        return self.since is not None or bool(self.groups)

    def to_json(self) -> dict[str, Any]:
        """The fields in records."""
        return {"since": self.since, "groups": dict(self.groups)}

    @staticmethod
    def from_fields(read: JsonReader) -> "Pauses":
        """Read what ``to_json`` wrote; raises BadRecordError if it is something else."""
        return Pauses(since=read.text_or_none("since"), groups=read.pairs("groups"))


def pauses_of_status(value: object) -> Pauses:
    """The pauses in status.json; none if ``value`` contains none that can be read."""
    if not isinstance(value, dict):
        return Pauses()
    try:
        return Pauses.from_fields(JsonReader(value, "status.json"))
    except BadRecordError:
        return Pauses()
