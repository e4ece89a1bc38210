"""``root.json``: the ``.runs`` directory in which the records were last served, to detect copies.

::

    {"schema", "root": path, "root_id": "<device>-<inode>", "host", "boot_id"}

A copy of a root (``cp``, ``rsync``, a restored backup) contains the file but has another inode. A
snapshot has the same inode and, in the same boot, another device. Device numbers may differ between
boots and hosts, so there they prove nothing; no process of a run survives a boot either.
"""

from dataclasses import asdict, fields
from typing import Final

from workers.records.atomic import replace_file, to_bytes
from workers.records.dataclass import dataclass
from workers.records.files import read_object
from workers.records.identity import boot_id, host_name, root_id
from workers.records.json_reader import JsonReader, check_schema
from workers.records.layout import Layout
from workers.records.typed_errors import TypedError

SCHEMA: Final = "pipeline-supervisor/root/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class RootRecord:
    """The path of a served root, and its identity on a host and boot."""

    root: str
    root_id: str
    host: str
    boot_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedRoot:
    """A root whose records were written in another one.

    Attributes:
        root: the path of this one.
        original: the path that the other one had.
        original_exists: the other one still exists.
    """

    root: str
    original: str
    original_exists: bool

    @property
    def summary(self) -> str:
        """A description for messages."""
        if self.original == self.root:
            return "restored from a copy since it was served last"
        if self.original_exists:
            return f"a copy of {self.original}, which is still there"
        return f"a copy of {self.original}, or was moved from there to another file system"


def root_record(layout: Layout) -> RootRecord:
    """The record of this root as it is now; raises OSError if ``.runs`` is gone."""
    return RootRecord(
        root=layout.root, root_id=root_id(layout.runs), host=host_name(), boot_id=boot_id()
    )


def load_root_record(layout: Layout) -> RootRecord | None:
    """Read the record; None if it is damaged or missing, as in a root of an older version."""
    try:
        data = read_object(layout.root_record)
        check_schema(data, SCHEMA, layout.root_record)
        read = JsonReader(data, layout.root_record)
        return RootRecord(**{field.name: read.text(field.name) for field in fields(RootRecord)})
    except (FileNotFoundError, NotADirectoryError, TypedError):
        return None


def store_root_record(layout: Layout, record: RootRecord) -> None:
    """Write the record; raises OSError if the disk refuses."""
    replace_file(layout.root_record, to_bytes({"schema": SCHEMA, **asdict(record)}))


def copied_from(before: RootRecord | None, now: RootRecord) -> CopiedRoot | None:
    """The root that this one is a copy of; None if it is none, or has no record.

    Args:
        before: the record on disk.
        now: the record as it should be.
    """
    if before is None:
        return None
    same_boot = (before.host, before.boot_id) == (now.host, now.boot_id)
    same_inode = before.root_id.partition("-")[2] == now.root_id.partition("-")[2]
    if before.root_id == now.root_id or (same_inode and not same_boot):
        return None
    original_exists = False
    if same_boot and before.root != now.root:
        try:
            original_exists = root_id(Layout(before.root).runs) == before.root_id
        except OSError:
            original_exists = False
    return CopiedRoot(root=now.root, original=before.root, original_exists=original_exists)
