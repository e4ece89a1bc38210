"""A small disk to fill and a wall clock to change.

If the machine cannot provide one, the actions that need it are left out and reported.
"""

import contextlib
import os
import shutil
import struct
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_SOURCE: Final = Path(__file__).with_name("clock.c")
_DISK_BYTES: Final = 96 * 1024 * 1024  # an hour's records fit; filling it takes milliseconds
_BLOCK: Final = b"\0" * (1 << 20)


@dataclass(slots=True)
class Disk:
    """A small file system, if one can be mounted.

    Args:
        path: an empty directory to mount the file system on.

    Attributes:
        unavailable_reason: why it cannot be mounted; None if it can.
    """

    path: str
    unavailable_reason: str | None = field(default=None, init=False)

    def mount(self) -> None:
        """Mount it if possible."""
        if os.geteuid() != 0:
            self.unavailable_reason = "mounting needs root"
            return
        argv = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES},mode=700", "tmpfs", self.path]
        ran = subprocess.run(argv, capture_output=True, text=True, check=False)
        if ran.returncode != 0:
            self.unavailable_reason = ran.stderr.strip() or "mount failed"

    def fill(self) -> None:
        """Fill it completely."""
        with open(os.path.join(self.path, "fill"), "ab", buffering=0) as file:
            for block in (_BLOCK, _BLOCK[:4096]):
                try:
                    while True:
                        file.write(block)
                except OSError:
                    continue

    def free(self) -> None:
        """Free the space again."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.path, "fill"))

    def unmount(self) -> None:
        """Unmount it if it is mounted; no process may use it any more."""
        if os.path.ismount(self.path):
            subprocess.run(["umount", self.path], check=True, capture_output=True)


@dataclass(slots=True)
class WallClock:
    """The wall clock of every process started with ``environment``.

    Args:
        directory: for the shim.

    Attributes:
        unavailable_reason: why the clock cannot be changed; None if it can.
        environment: the variables that give a process this clock.
    """

    directory: str
    unavailable_reason: str | None = field(default=None, init=False)
    environment: dict[str, str] = field(default_factory=dict, init=False)
    _file: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self._file = os.path.join(self.directory, "clock")
        built = os.path.join(self.directory, "clock.so")
        self.jump(0)
        if shutil.which("cc") is None:
            self.unavailable_reason = "there is no C compiler"
            return
        argv = ["cc", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o", built]
        subprocess.run([*argv, str(_SOURCE), "-ldl"], check=True)
        self.environment = {"LD_PRELOAD": built, "CHAOS_CLOCK": self._file}

    def jump(self, seconds: int) -> None:
        """Set it the given seconds ahead of the true time, or behind."""
        fd = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(fd, struct.pack("=q", seconds), 0)
        finally:
            os.close(fd)
