"""A small ext4 file system on a loop device, whose power can be cut."""

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.root import wait_until

SIZE_BYTES = 64 * 1024 * 1024  # room for a journal and some hundred runs
TOOLS = ("mkfs.ext4", "mount", "umount")
FS_IOC_SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2  # _IOR('X', 125, __u32), linux/ext4
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True)
class Disk:
    """A mounted image."""

    image: Path
    mount: Path

    def cut(self) -> None:
        """Cut the power: what was not flushed is gone."""
        fd = os.open(self.mount, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, FS_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def power_up(self) -> None:
        """After the power was cut: take the dead file system away and mount what is on the disk."""
        self.detach()
        self.attach()

    def detach(self) -> None:
        """Unmount; a killed process may take a moment to let go."""

        def gone() -> bool:
            try:
                _call("umount", str(self.mount))
            except AssertionError as error:
                if "busy" in str(error):
                    return False
                raise
            return True

        wait_until(gone, f"{self.mount} is unmounted")

    def attach(self) -> None:
        """Mount the image; the journal that it holds is replayed."""
        _call("mount", "-o", "loop", str(self.image), str(self.mount))


def _call(*words: str) -> None:
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=60, env={**os.environ, "PATH": PATH}
    )
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"


@contextmanager
def loop_disk(directory: Path) -> Iterator[Disk]:
    """A fresh disk; unmounted afterwards."""
    disk = Disk(directory / "disk.img", directory / "mnt")
    disk.mount.mkdir()
    with disk.image.open("wb") as file:
        file.truncate(SIZE_BYTES)
    _call("mkfs.ext4", "-q", "-F", str(disk.image))
    disk.attach()
    try:
        yield disk
    finally:
        disk.detach()


def available() -> str | None:
    """Why there can be no disk here, None where there can."""
    if os.geteuid() != 0:
        return "only root may mount"
    if not os.path.exists("/dev/loop-control"):
        return "there are no loop devices"
    places = PATH.split(":")
    missing = [t for t in TOOLS if not any(os.access(f"{p}/{t}", os.X_OK) for p in places)]
    return f"missing: {', '.join(missing)}" if missing else None
