"""Looking for a Dask scheduler for ``supervisor doctor``, without Dask: is anybody there?"""

import socket
from typing import Final

from supervisor.doctor.check_result import CheckResult, bad, ok, warn

_CONNECT_S: Final = 3.0
_LONGEST_NAME: Final = 253  # of a host, RFC 1035


def check_scheduler(address: str) -> CheckResult:
    """Look whether something listens at an address like ``tcp://10.0.0.1:8786``."""
    scheme, _, place = address.partition("://")
    host, _, port = place.rpartition(":")
    if scheme not in ("tcp", "tls") or not port.isascii() or not port.isdigit():
        mend = "dask_scheduler is tcp://HOST:PORT or tls://HOST:PORT"
        return warn("scheduler", f"{address} cannot be looked at", mend)
    if not 0 < int(port) < 65_536 or not 0 < len(host) <= _LONGEST_NAME:
        return bad("scheduler", f"{address} is no address", "tcp://HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except (OSError, UnicodeError) as error:
        return warn(
            "scheduler",
            f"nobody listens at {address} ({error})",
            "start it there ('dask scheduler --host ... --port ...'); runs wait for it",
        )
    if scheme == "tcp":
        reaches = "every user of this host" if _is_loopback(host) else "whoever reaches it"
        return warn(
            "scheduler",
            f"{address} is served without TLS: {reaches} can run code as you",
            "use tls://HOST:PORT (docs/how-to/run-on-several-hosts.md), unless you trust them all",
        )
    return ok("scheduler", f"a scheduler listens at {address}")


def _is_loopback(host: str) -> bool:
    return host == "localhost" or host.startswith("127.") or host.strip("[]") == "::1"
