"""What a supervisor and its zygote say to each other, over a socket pair of whole messages.

::

    supervisor   RUN_DIR                 with the run's locked owner descriptor
                 words                   with where last words go: its own, and its workers'
    zygote       started PID TICKS       with a pidfd of the worker: it is not reaped before
                 refused ERRNO           there is no worker
                 ended PID CODE          at any time; negative for a signal, as subprocess has it
"""

import os
import socket
from typing import Final

WORDS: Final = b"words"  # no RUN_DIR: that is absolute
STARTED: Final = b"started"
REFUSED: Final = b"refused"
ENDED: Final = b"ended"
_LIMIT_BYTES: Final = 8192  # a path is at most 4,096


def send_message(
    sock: socket.socket, *words: bytes | int, fd: int | None = None, flags: int = 0
) -> None:
    """Send one message; OSError where nobody is there, or the flags forbid to wait."""
    text = b" ".join(word if isinstance(word, bytes) else b"%d" % word for word in words)
    socket.send_fds(sock, [text], [] if fd is None else [fd], flags)


def receive_message(sock: socket.socket) -> tuple[bytes, int | None]:
    """Wait for one message.

    Returns:
        The message, empty where the other side is gone, and the descriptor that came with it.

    Raises:
        TimeoutError: the socket has a timeout, and it is over.
        OSError: the other side is gone.
    """
    text, fds, _, _ = socket.recv_fds(sock, _LIMIT_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
    for extra in fds[1:]:
        os.close(extra)
    return text, fds[0] if fds else None
