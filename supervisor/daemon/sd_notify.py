"""sd_notify: telling the service manager that we are ready, at work, reloading or stopping.

One datagram to the socket that NOTIFY_SOCKET names (``@`` stands for an abstract one), never
waited for. The kernel refuses a datagram while the manager has not read the 10 before it: it is
sent again when the loop turns. The variables are taken out of the environment, so that no worker
and no stage ever sees them. Without a socket nothing is told.
"""

import contextlib
import os
import socket
from collections.abc import MutableMapping
from typing import Final

SOCKET: Final = "NOTIFY_SOCKET"
TIMES: Final = ("WATCHDOG_USEC", "WATCHDOG_PID")


class Notifier:
    """Tells the service manager.

    Args:
        address: the socket, None for nobody.
        watchdog_s: it wants to hear from us at least this often, None where it does not.
    """

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        self._address = f"\0{address[1:]}" if address and address[0] == "@" else address
        self._every_s = None if watchdog_s is None else watchdog_s / 2
        self._alive_mono_s: float | None = None
        self._status = ""
        self._unsent: list[str] = []  # in order; a manager that is busy has not taken them yet
        self._sock: socket.socket | None = None
        if self._address:
            with contextlib.suppress(OSError):  # no descriptor left: nobody is told
                self._sock = socket.socket(
                    socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
                )

    def ready(self) -> None:
        """What a crash left is recovered, and requests are taken; also after a reload."""
        self._tell("READY=1")

    def reloading(self, mono_s: float) -> None:
        """The settings are read again; ``ready`` follows."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={int(mono_s * 1e6)}")

    def stopping(self) -> None:
        """We are on our way out."""
        self._tell("STOPPING=1")

    def alive(self, mono_s: float, status: str) -> None:
        """The loop turns: say so when it is time, and what it does if that has changed."""
        self._send()
        if self._unsent:
            return
        if self._every_s is not None and (
            self._alive_mono_s is None or mono_s - self._alive_mono_s >= self._every_s
        ):
            self._alive_mono_s = mono_s
            self._tell("WATCHDOG=1")
        if status != self._status:
            self._status = status
            self._tell(f"STATUS={status}")

    def close(self) -> None:
        """Close the socket."""
        if self._sock is not None:
            self._sock.close()

    def _tell(self, text: str) -> None:
        """Send one message after those that are unsent."""
        self._unsent.append(text)
        self._send()

    def _send(self) -> None:
        """Send what is unsent; a manager that is gone loses it and harms nobody."""
        while self._unsent:
            if self._sock is not None and self._address:
                try:
                    self._sock.sendto(self._unsent[0].encode(), self._address)
                except BlockingIOError:
                    return
                except OSError:
                    pass
            del self._unsent[0]


def notifier_of(environ: MutableMapping[str, str], pid: int) -> Notifier:
    """Take the service manager's variables out of an environment.

    Args:
        environ: the environment.
        pid: our process id; a watchdog that is meant for another process is not ours.
    """
    address = environ.pop(SOCKET, "")
    usec, meant = (environ.pop(name, "") for name in TIMES)
    ours = meant in ("", str(pid))
    watchdog_s = int(usec) / 1e6 if ours and usec.isdecimal() and int(usec) > 0 else None
    if not address or address[0] not in "/@" or len(os.fsencode(address)) > 107:
        return Notifier()
    return Notifier(address, watchdog_s)
