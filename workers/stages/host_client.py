"""How a worker asks the process that hosts its run to host the run of a sub-pipeline, too."""

import os
import socket

from workers.processes.zygote_protocol import send_message
from workers.records.caller import announce_caller
from workers.records.layout import Layout, RunDir


class HostClient:
    """A worker's end of the socket to its host.

    Args:
        sock: of whole messages (``zygote_protocol``); the worker and its forks share it.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def host(self, layout: Layout, run: RunDir) -> None:
        """Have a run hosted that is going to be submitted.

        Its caller's lock is held when this returns. If the host dies before it has read this, the
        lock is released, and the supervisor cancels the run.

        Args:
            layout: the root.
            run: the run.

        Raises:
            OSError: the host is gone, or the lock file could not be made.
            BadFileError: the directory of lock files is not ours.
        """
        fd = announce_caller(layout, run.run_id)
        try:
            send_message(self._sock, os.fsencode(run.path), fd=fd)
        except OSError as error:
            raise ConnectionError(f"the process that hosts this run is gone: {error}") from error
        finally:
            os.close(fd)
