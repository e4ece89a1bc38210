"""Answers ``supervisor doctor`` from another host (or process), through the shared folder alone.

Who answers makes a directory ``HOST.PID`` in the one that both know; the doctor asks in its
``ask.json``, the answer stands in ``answer.json`` with the token of what was asked. For a *change*
each looks at a file of the other's: the doctor changes ``there``, the peer sees it and changes
``back`` in the same way, so that the doctor's own clock tells how long there and back takes, and no
two clocks are compared. Started by ``supervisor doctor --echo``, or as
``python -m workers.entry.probe DIR`` where nothing but this package is installed.
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
from workers.records.files import make_private, open_regular, read_bytes, read_object, take_lock
from workers.records.heartbeat import HeartbeatWriter
from workers.records.identity import host_name
from workers.records.proc import proc_stat
from workers.records.typed_errors import TypedError

ANSWER_S: Final = 90.0  # NFS keeps what it knows of a directory for up to 60 s (nfs(5), acdirmax)
IDLE_S: Final = 600.0  # ten minutes to type the other command
NAMES_COUNT: Final = 64  # that both try to make first
_LOOK_S: Final = 0.005
_PACE_S: Final = 0.001  # between two names, so that both are at it at once
_IDLE_LOOK_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class ProbeChange:
    """One way in which a file changes that one host writes and another looks at.

    Attributes:
        prepare: what is there before it.
        make: the change.
        seen: whether it is to be seen.
    """

    prepare: Callable[[str], None]
    make: Callable[[str], None]
    seen: Callable[[str], bool]


def _empty(path: str) -> None:
    create_file(path, b"")


def _nothing(_: str) -> None:
    pass


def _grow(path: str) -> None:
    writer = HeartbeatWriter(path)  # kept open until we end, as a worker does
    writer.beat(time.time())
    writer.send()
    for earlier in _beating:
        earlier.close()
    _beating[:] = [writer]


def _is_listed(path: str) -> bool:
    return os.path.basename(path) in os.listdir(os.path.dirname(path))


def _renew(path: str) -> None:
    replace_file(path, b"new", flush=False)


_beating: Final[list[HeartbeatWriter]] = []

# As our records change: a cancellation, a request, a heartbeat, a manifest, a claim taken away.
CHANGES: Final = {
    "made": ProbeChange(_nothing, _empty, os.path.lexists),
    "listed": ProbeChange(_nothing, _empty, _is_listed),
    "grown": ProbeChange(_empty, _grow, lambda path: os.stat(path).st_size > 0),
    "replaced": ProbeChange(_empty, _renew, lambda path: read_bytes(path) == b"new"),
    "removed": ProbeChange(_empty, os.unlink, lambda path: not os.path.lexists(path)),
}


def poll_until(
    look: Callable[[], bool], *, wait_s: float = ANSWER_S, every_s: float = _LOOK_S
) -> bool:
    """Look again and again; tell whether it came true in time. A look that fails is none."""
    deadline = time.monotonic() + wait_s
    while True:
        with contextlib.suppress(OSError, TypedError):
            if look():
                return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(every_s)


def file_clock_s(path: str) -> float:
    """Make a file; how far the clock that stamps it is ahead of ours, in seconds."""
    create_file(path, b"x")
    return os.stat(path).st_mtime - time.time()


def win_names(directory: str, *, backwards: bool) -> list[str]:
    """Make what can be made only once, as claims are; the names that we made first.

    A file system without links is asked for the other half alone.
    """
    names = [f"{way}.{number}" for number in range(NAMES_COUNT // 2) for way in ("create", "link")]
    mine = os.path.join(directory, f"mine.{backwards:d}")
    create_file(mine, b"")
    won = []
    for name in reversed(names) if backwards else names:
        time.sleep(_PACE_S)
        path = os.path.join(directory, name)
        try:
            if name.startswith("link"):
                os.link(mine, path, follow_symlinks=False)
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
    """Try a flock; a descriptor that holds it, None where another does; OSError: there is none."""
    return take_lock(open_regular(path, os.O_RDWR | os.O_CREAT))


def peers_in(directory: str) -> Iterator[str]:
    """The directories of those who answer; those that a dead process of this host left are gone."""
    with contextlib.suppress(FileNotFoundError):
        for name in sorted(os.listdir(directory)):
            host, _, pid = name.rpartition(".")
            if host == host_name() and pid.isdigit() and proc_stat(int(pid)) is None:
                shutil.rmtree(os.path.join(directory, name), ignore_errors=True)
            elif host and pid.isdigit():
                yield os.path.join(directory, name)


def answer_doctor(directory: str, *, idle_s: float = IDLE_S, tell: Callable[[str], None]) -> bool:
    """Answer one doctor, from its first question to its leave.

    Args:
        directory: where both meet; it is made.
        idle_s: how long to wait for a question, in seconds.
        tell: told where to ask from, and by whom it was asked.

    Returns:
        Whether somebody asked.

    Raises:
        OSError: the folder cannot be used.
    """
    make_private(directory)
    place = os.path.join(directory, f"{host_name()}.{os.getpid()}")
    os.mkdir(place, 0o700)
    try:
        tell(f"answering in {place}; now on another host: supervisor doctor --hosts 1")
        return _answer_all(place, idle_s)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.rmdir(directory)


def _answer_all(place: str, idle_s: float) -> bool:
    asked, answered = os.path.join(place, "ask.json"), os.path.join(place, "answer.json")
    token: object = None

    def is_new() -> bool:
        return read_object(asked).get("token") != token

    while poll_until(is_new, wait_s=idle_s, every_s=_IDLE_LOOK_S if token is None else _LOOK_S):
        ask = read_object(asked)
        token = ask.get("token")
        told: dict[str, Any] = {}
        try:
            told = _answer(place, ask)
        except (OSError, TypedError) as error:
            told = {"error": str(error)}
        if ask.get("do") == "leave":
            return True
        replace_file(answered, to_line({"token": token, **told}), flush=False)
        _follow(place, ask)
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


def _follow(place: str, ask: dict[str, Any]) -> None:
    """See what the doctor changes now, and change ours."""
    if ask.get("do") == "change":
        change = CHANGES[str(ask["kind"])]
        there, back = (os.path.join(place, str(ask[key])) for key in ("there", "back"))
        if poll_until(lambda: change.seen(there)):
            change.make(back)


def main(words: list[str]) -> int:
    """Answer as ``python -m workers.entry.probe DIR``; exit with 0 if asked, else with 124."""
    if len(words) != 1:
        print("usage: python -m workers.entry.probe DIR", file=sys.stderr)
        return 2
    return 0 if answer_doctor(words[0], tell=lambda text: print(text, file=sys.stderr)) else 124


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
