"""Health checks of the root's file system, from /proc/self/mountinfo.

The question is whether other hosts see the same files, and how soon: nfs(5), mount.lustre(8).
"""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Final

from supervisor.config.settings import PLACED
from supervisor.doctor.check_result import CheckResult, ok, warn
from workers.records.dataclass import dataclass

# Types whose files no other host sees.
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
        point: the mount point.
        kind: the file system's type.
        source: the device or server.
        options: of the mount and of the file system; "" for an option without a value.
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
    """Parse mountinfo (proc(5)) in its order; malformed lines are skipped."""
    for line in text.splitlines():
        left, dash, right = line.partition(" - ")
        before, after = left.split(), right.split()
        if not dash or len(before) < 6 or len(after) < 3:
            continue
        options = [*before[5].split(","), *after[2].split(",")]
        pairs = (option.partition("=") for option in options)
        yield Mount(
            point=_plain(before[4]),
            kind=after[0],
            source=_plain(after[1]),
            options={name: value for name, _, value in pairs},
        )


def _plain(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), text)


def mount_of(directory: str) -> Mount | None:
    """The mount that holds a directory; None if /proc does not show it."""
    place = os.path.realpath(directory)
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            mounts = list(mounts_in(file.read()))
    except OSError:
        return None
    below = [m for m in mounts if place == m.point or place.startswith(m.point.rstrip("/") + "/")]
    # The deepest. Of several at one mount point, the last covers the others.
    return max(reversed(below), key=lambda mount: len(mount.point), default=None)


def check_mount(mount: Mount | None, *, launcher: str) -> Iterator[CheckResult]:
    """Check that the root's file system suits the launcher.

    Args:
        mount: the root's mount, None if unknown.
        launcher: the setting.
    """
    placed = launcher in PLACED
    if mount is None:
        yield warn("file system", "not in /proc/self/mountinfo", "mount /proc")
    elif not mount.shared and placed:
        yield warn(
            "file system",
            f"{mount}: a local file system, and launcher is {launcher}",
            "put the root on a folder that all hosts mount at the same path; ignore this if this "
            "host exports the folder, or if the engine's workers all run on this host",
        )
    else:
        yield ok("file system", str(mount))
    if mount is not None and mount.shared:
        yield from _options(mount)


def _options(mount: Mount) -> Iterator[CheckResult]:
    options = mount.options
    unseen = [name for name in ("nolock", "noflock", "localflock") if name in options]
    if options.get("local_lock") in ("all", "flock"):
        unseen.append(f"local_lock={options['local_lock']}")
    if unseen:
        yield warn(
            "mount options",
            f"{', '.join(unseen)}: hosts do not see each other's locks",
            "start supervisors of this root on one host only, or mount it without these options "
            "(NFS: local_lock=none, Lustre: flock)",
        )
    if "soft" in options or "softerr" in options:
        yield warn(
            "mount options",
            "soft: if the server is slow, writes fail and are not repeated",
            "mount it with hard",
        )
    if mount.kind in ("nfs", "nfs4") and "noac" not in options:
        late_s = max(_longest_s(options, "acregmax"), _longest_s(options, "acdirmax"))
        if late_s > 1:
            yield warn(
                "mount options",
                f"changes by other hosts may be seen up to {late_s:g} s late (actimeo)",
                "mount it with actimeo=1, or accept that cancellations and requests come later; "
                "keep hung_after_s well above the delay",
            )


def _longest_s(options: Mapping[str, str], name: str) -> float:
    """How long attributes are cached; the kernel shows it if it is not the default."""
    text = options.get(name, options.get("actimeo", ""))
    return float(text) if text.isdigit() else _NFS_LONGEST_S
