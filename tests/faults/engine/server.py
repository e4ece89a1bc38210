"""A process that has imported the supervisor, and forks a supervisor per point. Preload the shim.

Reads one JSON object per line on stdin and answers with the child's wait status, or null where it
had to be killed at the deadline.
"""

import ctypes
import json
import os
import signal
import sys
import time
import traceback
from typing import Any

from supervisor.cli import run
from tests.faults.engine import plants


def serve(shim: str) -> None:
    """Answer until stdin ends."""
    library = ctypes.CDLL(shim)
    for line in sys.stdin:
        order: dict[str, Any] = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os._exit(supervise(library, order))
        print(json.dumps(wait(pid, order["deadline_s"])), flush=True)


def supervise(library: ctypes.CDLL, order: dict[str, Any]) -> int:
    """Be the supervisor of one point."""
    try:
        os.chdir(order["root"])
        os.environ.update(order["env"])
        for target, path in ((0, os.devnull), (1, order["out"]), (2, order["err"])):
            flags = os.O_RDONLY if target == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            fd = os.open(path, flags, 0o600)
            os.dup2(fd, target)
            os.close(fd)
        # As Python opens its own: a stream that is replaced must not close the descriptor.
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        for name in order["plants"]:
            plants.PLANTS[name]()
        told = (order["root"], order["mount"], order["log"], order["skip"])
        library.crashpoint_arm(
            *(text.encode() for text in told), ctypes.c_long(order["at"]), order["mode"].encode()
        )
        code = run(order["words"])
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001 - the child must end here, and say why
        traceback.print_exc()
        sys.stderr.flush()
        return 99
    return code


def wait(pid: int, deadline_s: float) -> int | None:
    """Wait for a child; None where it had to be killed."""
    until = time.monotonic() + deadline_s
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        time.sleep(0.002)


if __name__ == "__main__":
    serve(sys.argv[1])
