"""What kind of file system a root stands on, as /proc/self/mountinfo tells it, for ``doctor``.

What matters is whether other hosts see the same files, and how soon: nfs(5), mount.lustre(8).
"""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Final

from supervisor.config.settings import PLACED
from supervisor.doctor.check_result import CheckResult, ok, warn
from workers.records.dataclass import dataclass

# Kinds that keep their files on this machine, as far as anybody else is concerned.
_LOCAL: Final = re.compile(
    "ext[234]|xfs|btrfs|zfs|f2fs|bcachefs|jfs|reiserfs|tmpfs|ramfs|rootfs|overlay|aufs|"
    "vfat|exfat|ntfs3|fuseblk|squashfs"
)
_NFS_LONGEST_S: Final = 60.0  # nfs(5): acregmax, acdirmax
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One line of mountinfo.

    Attributes:
        point: where it is mounted.
        kind: of file system.
        source: device or server.
        options: of the mount and of the file system, "" for one without a value.
    """

    point: str
    kind: str
    source: str
    options: Mapping[str, str]

    @property
    def shared(self) -> bool:
        """Other hosts may see the same files."""
        return _LOCAL.fullmatch(self.kind) is None

    def __str__(self) -> str:
        return f"{self.kind}, {self.source} on {self.point}"


def mounts_in(text: str) -> Iterator[Mount]:
    """The lines of a mountinfo, in their order (proc(5)); what is no line of one is passed over."""
    for line in text.splitlines():
        left, dash, right = line.partition(" - ")
        before, after = left.split(), right.split()
        if not dash or len(before) < 6 or len(after) < 3:
            continue
        words = [*before[5].split(","), *after[2].split(",")]
        pairs = (word.partition("=") for word in words)
        yield Mount(
            point=_plain(before[4]),
            kind=after[0],
            source=_plain(after[1]),
            options={name: value for name, _, value in pairs},
        )


def _plain(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), text)


def mount_of(directory: str) -> Mount | None:
    """What a directory stands on; None where /proc does not tell."""
    place = os.path.realpath(directory)
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            found = list(mounts_in(file.read()))
    except OSError:
        return None
    below = [m for m in found if place == m.point or place.startswith(m.point.rstrip("/") + "/")]
    # The deepest; of several at one place the last one covers the others.
    return max(reversed(below), key=lambda mount: len(mount.point), default=None)


def check_mount(mount: Mount | None, *, launcher: str) -> Iterator[CheckResult]:
    """Look whether what a root stands on suits the launcher.

    Args:
        mount: what it stands on.
        launcher: the setting.
    """
    placed = launcher in PLACED
    if mount is None:
        yield warn("file system", "/proc/self/mountinfo does not tell", "mount /proc")
    elif not mount.shared and placed:
        yield warn(
            "file system",
            f"{mount}: other hosts do not see it by itself, and launcher is {launcher}",
            "put the root on a folder that all hosts mount at the same path; none is needed where "
            "this host exports it, or where the engine's workers are on this host alone",
        )
    else:
        yield ok("file system", str(mount))
    if mount is not None and mount.shared:
        yield from _wrong_with(mount)


def _wrong_with(mount: Mount) -> Iterator[CheckResult]:
    options = mount.options
    unseen = [word for word in ("nolock", "noflock", "localflock") if word in options]
    if options.get("local_lock") in ("all", "flock"):
        unseen.append(f"local_lock={options['local_lock']}")
    if unseen:
        yield warn(
            "mount options",
            f"{', '.join(unseen)}: a lock of one host is not seen by another",
            "start supervisors of this root on one host only, or mount it without that (NFS: "
            "local_lock=none, Lustre: flock)",
        )
    if "soft" in options or "softerr" in options:
        yield warn(
            "mount options",
            "soft: a server that is slow for once fails a write that nobody repeats",
            "mount it with hard",
        )
    if mount.kind in ("nfs", "nfs4") and "noac" not in options:
        late_s = max(_longest_s(options, "acregmax"), _longest_s(options, "acdirmax"))
        if late_s > 1:
            yield warn(
                "mount options",
                f"what other hosts change may be seen up to {late_s:g} s late (actimeo)",
                "mount it with actimeo=1, or live with cancellations and new requests that come "
                "so much later; hung_after_s must stay well above it",
            )


def _longest_s(options: Mapping[str, str], name: str) -> float:
    """For so long attributes are believed unasked; told where it is not the default."""
    text = options.get(name, options.get("actimeo", ""))
    return float(text) if text.isdigit() else _NFS_LONGEST_S
