"""sd_notify: notify the service manager that we are ready, alive, reloading or stopping.

Each notification is one datagram to the socket in NOTIFY_SOCKET (``@`` begins an abstract name),
never waited for. The kernel refuses a datagram while the manager has 10 unread ones: it is sent
again at the next turn of the loop. The variables are removed from the environment, so that no
worker and no stage sees them. Without a socket nothing is sent.
"""

import contextlib
import os
import socket
from collections.abc import MutableMapping
from typing import Final

SOCKET: Final = "NOTIFY_SOCKET"
TIMES: Final = ("WATCHDOG_USEC", "WATCHDOG_PID")


class Notifier:
    """Notifies the service manager.

    Args:
        address: the socket, None for no service manager.
        watchdog_s: the manager expects a notification at least this often; None for no watchdog.
    """

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        self._address = f"\0{address[1:]}" if address and address[0] == "@" else address
        self._every_s = None if watchdog_s is None else watchdog_s / 2
        self._alive_mono_s: float | None = None
        self._status = ""
        self._unsent: list[str] = []  # in order; the manager has not read earlier ones yet
        self._sock: socket.socket | None = None
        if self._address:
            with contextlib.suppress(OSError):  # no descriptor left: nothing is sent
                self._sock = socket.socket(
                    socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
                )

    def ready(self) -> None:
        """Recovery is done, or a reload is, and requests are taken."""
        self._notify("READY=1")

    def reloading(self, mono_s: float) -> None:
        """The settings are being read again; ``ready`` follows."""
        self._notify(f"RELOADING=1\nMONOTONIC_USEC={int(mono_s * 1e6)}")

    def stopping(self) -> None:
        """The supervisor is exiting."""
        self._notify("STOPPING=1")

    def alive(self, mono_s: float, status: str) -> None:
        """Send the watchdog's notification if it is due, and the status if it has changed."""
        self._send()
        if self._unsent:
            return
        if self._every_s is not None and (
            self._alive_mono_s is None or mono_s - self._alive_mono_s >= self._every_s
        ):
            self._alive_mono_s = mono_s
            self._notify("WATCHDOG=1")
        if status != self._status:
            self._status = status
            self._notify(f"STATUS={status}")

    def close(self) -> None:
        """Close the socket."""
        if self._sock is not None:
            self._sock.close()

    def _notify(self, text: str) -> None:
        """Send a message after the unsent ones."""
        self._unsent.append(text)
        self._send()

    def _send(self) -> None:
        """Send the unsent messages; if the manager is gone, they are dropped."""
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
    """Remove the service manager's variables from an environment."""
    address = environ.pop(SOCKET, "")
    usec, watched_pid = (environ.pop(name, "") for name in TIMES)
    is_ours = watched_pid in ("", str(pid))
    watchdog_s = int(usec) / 1e6 if is_ours and usec.isdecimal() and int(usec) > 0 else None
    if not address or address[0] not in "/@" or len(os.fsencode(address)) > 107:
        return Notifier()
    return Notifier(address, watchdog_s)
