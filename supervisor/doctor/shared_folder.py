"""Health checks of the root's folder by two processes: do they see each other's changes and locks?

One peer is a child process on this host. Others run ``supervisor doctor --echo`` on their hosts
(``workers.entry.probe`` has the protocol). All durations are measured by this process's clock.
"""

import contextlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from supervisor.doctor.check_result import CheckResult, bad, ok, warn
from workers.entry.probe import (
    ANSWER_S,
    CHANGES,
    NAMES_COUNT,
    file_clock_s,
    lock,
    peers_in,
    poll_until,
    win_names,
)
from workers.records.atomic import replace_file, to_line
from workers.records.dataclass import dataclass
from workers.records.files import make_private, read_object
from workers.records.typed_errors import TypedError

_CLOCKS_S: Final = 2.0  # as for the file server's clock: people compare whole seconds
_ROUNDS_S: Final = 0.5  # repeat the changes for this long; the slowest counts
_GREET_S: Final = 10.0  # for a peer's first answer
_CHILD_S: Final = 10.0  # for an interpreter to start


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """The settings that limit how late changes may be seen, in seconds."""

    interval_s: float
    hung_after_s: float


class Peer:
    """A process that answers.

    Args:
        place: its directory.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self.name = os.path.basename(place)

    def begin(self, do: str, **facts: str) -> str:
        """Send a request; returns its token."""
        token = secrets.token_hex(8)
        ask = to_line({"token": token, "do": do, **facts})
        replace_file(os.path.join(self.place, "ask.json"), ask, flush=False)
        return token

    def end(self, token: str, *, wait_s: float = ANSWER_S) -> Mapping[str, Any] | None:
        """Wait for the answer to a request; None if there is none in time."""
        path = os.path.join(self.place, "answer.json")
        if poll_until(lambda: read_object(path).get("token") == token, wait_s=wait_s):
            return read_object(path)
        return None

    def change(self, kind: str, number: int) -> float | None:
        """Change a file, and wait until the peer has seen it and changed another in the same way.

        Returns:
            Half the time there and back, in seconds; None if the change was not seen.
        """
        names = {"there": f"there.{kind}.{number}", "back": f"back.{kind}.{number}"}
        there, back = (os.path.join(self.place, name) for name in names.values())
        change = CHANGES[kind]
        change.prepare(there)
        answer = self.end(self.begin("change", kind=kind, **names))
        if answer is None or "error" in answer:
            return None
        began = time.monotonic()
        change.make(there)
        return (time.monotonic() - began) / 2 if poll_until(lambda: change.seen(back)) else None


def check_shared_folder(
    directory: str, *, hosts_count: int, delays: Delays
) -> Iterator[CheckResult]:
    """Check a folder together with a child process, and with other hosts that answer.

    Args:
        directory: the meeting place, created and removed again unless others use it.
        hosts_count: the number of other hosts to wait for.
        delays: the settings.
    """
    try:
        make_private(directory)
        child = subprocess.Popen(
            [sys.executable, "-I", "-m", "workers.entry.probe", directory],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except (OSError, TypedError) as error:
        yield bad("shared folder", f"no second process could be started ({error})", "fix that")
        return
    try:
        yield from _check_peers(directory, child.pid, hosts_count, delays)
    finally:
        child.terminate()
        child.wait()
        list(peers_in(directory))  # removes the child's directory
        with contextlib.suppress(OSError):  # gone, or other hosts still answer
            os.rmdir(directory)


def _check_peers(
    directory: str, child_pid: int, hosts_count: int, delays: Delays
) -> Iterator[CheckResult]:
    def ours() -> list[str]:
        return [path for path in peers_in(directory) if path.endswith(f".{child_pid}")]

    def others() -> list[str]:
        return [path for path in peers_in(directory) if path not in ours()]

    if not poll_until(lambda: bool(ours()), wait_s=_CHILD_S):
        yield bad("shared folder", "a child process cannot answer", f"check {directory}")
        return
    yield from _check_peer(Peer(ours()[0]), "a second process", delays)
    if not poll_until(lambda: len(others()) >= hosts_count):
        yield warn(
            "other hosts",
            f"{len(others())} of {hosts_count} answer",
            "start 'supervisor doctor --echo' there, for the same root, and check again",
        )
    for path in others():
        yield from _check_peer(Peer(path), os.path.basename(path).rpartition(".")[0], delays)


def _check_peer(peer: Peer, host: str, delays: Delays) -> Iterator[CheckResult]:
    greeting = peer.end(peer.begin("greet"), wait_s=_GREET_S)
    if greeting is None or "error" in greeting:
        yield warn(
            host,
            f"{peer.name} does not answer" + (f" ({greeting['error']})" if greeting else ""),
            f"stop 'supervisor doctor --echo' there; if it does not run: rm -r {peer.place}",
        )
        return
    try:
        yield _changes(peer, host, delays)
        yield _claims(peer, host)
        yield _lock(peer, host)
        yield _clocks(peer, host, greeting)
        peer.begin("leave")
        poll_until(lambda: not os.path.lexists(peer.place), wait_s=_GREET_S)
    except (OSError, TypedError) as error:
        yield bad(host, f"the check failed ({error})", "fix the folder, and check again")


def _changes(peer: Peer, host: str, delays: Delays) -> CheckResult:
    check, slowest = f"{host}: changes", dict.fromkeys(CHANGES, 0.0)
    for kind in CHANGES:
        began, number = time.monotonic(), 0
        while number == 0 or time.monotonic() - began < _ROUNDS_S / len(CHANGES):
            seen_s = peer.change(kind, number)
            if seen_s is None:
                return bad(
                    check,
                    f"a file that was {kind} is not seen within {ANSWER_S:g} s",
                    "mount the folder so that hosts see each other's changes (NFS: actimeo=1)",
                )
            slowest[kind] = max(slowest[kind], seen_s)
            number += 1
    durations = ", ".join(f"{kind} {seconds:.3f}" for kind, seconds in slowest.items())
    what, worst_s = f"seen after at most (s): {durations}", max(slowest.values())
    fix = "mount the folder so that hosts see each other's changes sooner (NFS: actimeo=1)"
    if worst_s + delays.interval_s >= delays.hung_after_s:
        return bad(check, f"{what}; a living worker may look dead", fix)
    if worst_s > delays.interval_s:
        return warn(check, f"{what}; longer than the heartbeat interval", fix)
    return ok(check, what)


def _claims(peer: Peer, host: str) -> CheckResult:
    """Both create the same names, in opposite order: only one may succeed for each."""
    token = peer.begin("win")
    mine = win_names(peer.place, backwards=False)
    answer = peer.end(token)
    if answer is None or "won" not in answer:
        return bad(f"{host}: claims", f"not checked ({_reason(answer)})", "fix the folder")
    both = set(mine) & set(answer["won"])
    what = f"{len(mine)} and {len(answer['won'])} of {NAMES_COUNT} names created"
    if both:
        return bad(
            f"{host}: claims",
            f"{what}, {len(both)} of them by both",
            "put the root on another file system: a run could be started twice",
        )
    return ok(f"{host}: claims", f"{what}, none by both")


def _lock(peer: Peer, host: str) -> CheckResult:
    check = f"{host}: flock"
    fix = "start supervisors of this root on one host only, or mount it with shared locks"
    fd = None
    try:
        fd = lock(os.path.join(peer.place, "lock"))
        answer = peer.end(peer.begin("lock"))
    except OSError as error:
        return warn(check, f"does not work ({error.strerror})", fix)
    finally:
        if fd is not None:
            os.close(fd)
    if answer is None or "got" not in answer:
        return warn(check, f"does not work there ({_reason(answer)})", fix)
    if answer["got"]:
        return warn(check, "a lock held here is not seen there", fix)
    return ok(check, "a lock held here is seen there")


def _reason(answer: Mapping[str, Any] | None) -> str:
    return "no answer" if answer is None else str(answer.get("error"))


def _clocks(peer: Peer, host: str, greeting: Mapping[str, Any]) -> CheckResult:
    """Compare both clocks with the file server's. Nothing else depends on them."""
    ours_s = file_clock_s(os.path.join(peer.place, "clock.ours"))
    apart_s = round(ours_s - float(greeting["file_clock_s"]), 2) or 0.0
    what = f"{apart_s:+.2f} s from this host's; Python {greeting.get('python')}"
    if abs(apart_s) <= _CLOCKS_S:
        return ok(f"{host}: clock", what)
    fix = "synchronize the hosts' clocks (NTP): each writes its own times into records"
    return warn(f"{host}: clock", what, fix)
