"""Messages to and from a process that forks others, over a socket pair of whole messages.

Between a supervisor and its zygote::

    supervisor   RUN_DIR                 with the run's locked owner descriptor
                 words                   with the stderr for the zygote and its workers
    zygote       started PID TICKS       with a pidfd of the worker, which is not reaped before
                 refused ERRNO           there is no worker
                 ended PID CODE          at any time; negative for a signal, as in subprocess

A worker asks the host of its caller's run to host the run of a sub-pipeline, too::

    worker       RUN_DIR                 with that run's locked caller's file (``caller``)
"""

import os
import socket
from typing import Final

from workers.records.caller import announce_caller
from workers.records.layout import Layout, RunDir

STDERR: Final = b"words"  # no RUN_DIR: that is absolute
STARTED: Final = b"started"
REFUSED: Final = b"refused"
ENDED: Final = b"ended"
_LIMIT_BYTES: Final = 8192  # a path has at most 4,096


def send_message(
    sock: socket.socket, *parts: bytes | int, fd: int | None = None, flags: int = 0
) -> None:
    """Send one message; raises OSError if the peer is gone, or sending would block."""
    text = b" ".join(part if isinstance(part, bytes) else b"%d" % part for part in parts)
    socket.send_fds(sock, [text], [] if fd is None else [fd], flags)


def receive_message(sock: socket.socket) -> tuple[bytes, int | None]:
    """Wait for one message.

    Returns:
        The message, empty if the peer is gone, and the descriptor that came with it.

    Raises:
        TimeoutError: the socket's timeout has passed.
        OSError: the peer is gone.
    """
    text, fds, _, _ = socket.recv_fds(sock, _LIMIT_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
    for extra in fds[1:]:
        os.close(extra)
    return text, fds[0] if fds else None


class HostClient:
    """A worker's end of the socket to its host.

    Args:
        sock: the socket; the worker shares it with its forks.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def host(self, layout: Layout, run: RunDir) -> None:
        """Ask the host to host a run that is going to be submitted.

        Its caller's lock is held on return. If the host dies before it has read the message, the
        kernel releases the lock and the supervisor cancels the run.

        Args:
            layout: the root.
            run: the run.

        Raises:
            OSError: the host is gone, or the lock file cannot be created.
            BadFileError: the directory of lock files is not ours.
        """
        fd = announce_caller(layout, run.run_id)
        try:
            send_message(self._sock, os.fsencode(run.path), fd=fd)
        except OSError as error:
            raise ConnectionError(f"the process that hosts this run is gone: {error}") from error
        finally:
            os.close(fd)
