"""Answers ``supervisor doctor`` from another host (or process), through the shared folder alone.

The peer creates a directory ``HOST.PID`` in a folder that both know. The doctor writes requests to
its ``ask.json``; the peer writes ``answer.json`` with the token of the request. For a *change* each
polls a file of the other's: the doctor changes ``there``, the peer sees it and changes ``back`` in
the same way. So the doctor's own clock measures the round trip, and no two clocks are compared.
Started by ``supervisor doctor --echo``, or as ``python -m workers.entry.probe DIR`` on a host with
nothing but this package.
"""

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from workers.records.atomic import create_file, replace_file, to_line
from workers.records.claim import NO_LINKS
from workers.records.dataclass import dataclass
from workers.records.files import make_private, open_regular, read_bytes, read_object
from workers.records.flock import lock_fd
from workers.records.heartbeat import HeartbeatWriter
from workers.records.identity import host_name
from workers.records.proc import proc_stat
from workers.records.typed_errors import TypedError

ANSWER_S: Final = 90.0  # NFS caches directory attributes for up to 60 s (nfs(5), acdirmax)
IDLE_S: Final = 600.0  # ten minutes to type the other command
NAMES_COUNT: Final = 64  # that both sides try to create first
_POLL_S: Final = 0.005
_IDLE_POLL_S: Final = 0.05
_PACE_S: Final = 0.001  # between two names, so that both sides create them at the same time


@dataclass(frozen=True, slots=True)
class ProbeChange:
    """A kind of change that one host makes to a file and another must see.

    Attributes:
        prepare: create the state before the change.
        make: make the change.
        seen: whether the change is visible.
    """

    prepare: Callable[[str], None]
    make: Callable[[str], None]
    seen: Callable[[str], bool]


def _create_empty(path: str) -> None:
    create_file(path, b"")


def _do_nothing(_: str) -> None:
    pass


def _beat(path: str) -> None:
    writer = HeartbeatWriter(path)  # stays open, as in a worker
    writer.beat(time.time())
    writer.send()
    for earlier in _open_writers:
        earlier.close()
    _open_writers[:] = [writer]


def _is_listed(path: str) -> bool:
    return os.path.basename(path) in os.listdir(os.path.dirname(path))


def _replace(path: str) -> None:
    replace_file(path, b"new", flush=False)


_open_writers: Final[list[HeartbeatWriter]] = []

# As records change: a cancellation, a request, a heartbeat, a manifest, a revoked claim.
CHANGES: Final = {
    "made": ProbeChange(_do_nothing, _create_empty, os.path.lexists),
    "listed": ProbeChange(_do_nothing, _create_empty, _is_listed),
    "grown": ProbeChange(_create_empty, _beat, lambda path: os.stat(path).st_size > 0),
    "replaced": ProbeChange(_create_empty, _replace, lambda path: read_bytes(path) == b"new"),
    "removed": ProbeChange(_create_empty, os.unlink, lambda path: not os.path.lexists(path)),
}


def poll_until(
    check: Callable[[], bool], *, wait_s: float = ANSWER_S, every_s: float = _POLL_S
) -> bool:
    """Poll until ``check`` is true; False if that takes too long. A check that raises is false."""
    deadline = time.monotonic() + wait_s
    while True:
        with contextlib.suppress(OSError, TypedError):
            if check():
                return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(every_s)


def file_clock_s(path: str) -> float:
    """Create a file; how far the clock of its time stamp is ahead of ours, in seconds."""
    create_file(path, b"x")
    return os.stat(path).st_mtime - time.time()


def win_names(directory: str, *, backwards: bool) -> list[str]:
    """Create names that can be created only once, as claims are; returns those that were free.

    On a file system without links half of the names are tried.
    """
    names = [f"{way}.{number}" for number in range(NAMES_COUNT // 2) for way in ("create", "link")]
    ours = os.path.join(directory, f"mine.{backwards:d}")
    create_file(ours, b"")
    won = []
    for name in reversed(names) if backwards else names:
        time.sleep(_PACE_S)
        path = os.path.join(directory, name)
        try:
            if name.startswith("link"):
                os.link(ours, path, follow_symlinks=False)
            else:
                create_file(path, b"")
        except FileExistsError:
            continue
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
        else:
            won.append(name)
    return won


def lock(path: str) -> int | None:
    """Try a flock; returns its descriptor, None if it is held; OSError if there are no locks."""
    return lock_fd(open_regular(path, os.O_RDWR | os.O_CREAT))


def peers_in(directory: str) -> Iterator[str]:
    """The directories of peers; removes those of dead processes of this host."""
    with contextlib.suppress(FileNotFoundError):
        for name in sorted(os.listdir(directory)):
            host, _, pid = name.rpartition(".")
            if host == host_name() and pid.isdigit() and proc_stat(int(pid)) is None:
                shutil.rmtree(os.path.join(directory, name), ignore_errors=True)
            elif host and pid.isdigit():
                yield os.path.join(directory, name)


def answer_doctor(directory: str, *, idle_s: float = IDLE_S, report: Callable[[str], None]) -> bool:
    """Answer one doctor, from its first request to its last.

    Args:
        directory: the meeting place; it is created.
        idle_s: how long to wait for a request, in seconds.
        report: called with the command to run on the other host.

    Returns:
        Whether there was a request.

    Raises:
        OSError: the folder cannot be used.
    """
    make_private(directory)
    place = os.path.join(directory, f"{host_name()}.{os.getpid()}")
    os.mkdir(place, 0o700)
    try:
        report(f"answering in {place}; now on another host: supervisor doctor --hosts 1")
        return _answer_all(place, idle_s)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.rmdir(directory)


def _answer_all(place: str, idle_s: float) -> bool:
    ask_path, answer_path = os.path.join(place, "ask.json"), os.path.join(place, "answer.json")
    token: object = None

    def is_new() -> bool:
        return read_object(ask_path).get("token") != token

    while poll_until(is_new, wait_s=idle_s, every_s=_IDLE_POLL_S if token is None else _POLL_S):
        ask = read_object(ask_path)
        token = ask.get("token")
        answer: dict[str, Any] = {}
        try:
            answer = _answer(place, ask)
        except (OSError, TypedError) as error:
            answer = {"error": str(error)}
        if ask.get("do") == "leave":
            return True
        replace_file(answer_path, to_line({"token": token, **answer}), flush=False)
        _change_back(place, ask)
    return token is not None


def _answer(place: str, ask: dict[str, Any]) -> dict[str, Any]:
    match ask.get("do"):
        case "greet":
            off_s = file_clock_s(os.path.join(place, "clock.theirs"))
            return {"host": host_name(), "python": sys.version.split()[0], "file_clock_s": off_s}
        case "lock":
            fd = lock(os.path.join(place, "lock"))
            if fd is not None:
                os.close(fd)
            return {"got": fd is not None}
        case "change":
            CHANGES[str(ask["kind"])].prepare(os.path.join(place, str(ask["back"])))
            return {}
        case "win":
            return {"won": win_names(place, backwards=True)}
        case _:
            return {}


def _change_back(place: str, ask: dict[str, Any]) -> None:
    """For a change: wait for the doctor's, then make ours."""
    if ask.get("do") == "change":
        change = CHANGES[str(ask["kind"])]
        there, back = (os.path.join(place, str(ask[key])) for key in ("there", "back"))
        if poll_until(lambda: change.seen(there)):
            change.make(back)


def main(argv: list[str]) -> int:
    """Answer as ``python -m workers.entry.probe DIR``; exits with 0 after a request, else 124."""
    if len(argv) != 1:
        print("usage: python -m workers.entry.probe DIR", file=sys.stderr)
        return 2
    return 0 if answer_doctor(argv[0], report=lambda text: print(text, file=sys.stderr)) else 124


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
