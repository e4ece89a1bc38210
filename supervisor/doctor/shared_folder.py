"""Looking at a root's folder from two sides for ``supervisor doctor``: with who answers there.

One peer is a process of this host that we start ourselves; others run ``supervisor doctor --echo``
on theirs (``workers.entry.probe``). Only our own clock measures.
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

_CLOCKS_S: Final = 2.0  # as for the file server's clock: whole seconds are all that people compare
_ROUNDS_S: Final = 0.5  # a change is made again for so long: the slowest counts
_GREET_S: Final = 10.0  # who does not answer by then is told, and the rest is looked at
_CHILD_S: Final = 10.0  # an interpreter that starts


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """The settings that what is seen late is held against, in seconds."""

    interval_s: float
    hung_after_s: float


class Peer:
    """Somebody who answers.

    Args:
        place: its directory.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self.name = os.path.basename(place)

    def begin(self, do: str, **facts: str) -> str:
        """Ask; returns the token of the answer."""
        token = secrets.token_hex(8)
        ask = to_line({"token": token, "do": do, **facts})
        replace_file(os.path.join(self.place, "ask.json"), ask, flush=False)
        return token

    def end(self, token: str, *, wait_s: float = ANSWER_S) -> Mapping[str, Any] | None:
        """Wait for the answer; None where none came."""
        path = os.path.join(self.place, "answer.json")
        if poll_until(lambda: read_object(path).get("token") == token, wait_s=wait_s):
            return read_object(path)
        return None

    def change(self, kind: str, number: int) -> float | None:
        """Let the other see a change and answer it in kind.

        Returns:
            How long until it was seen, half of there and back, in seconds; None where it was not.
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


def check_from_two_sides(
    directory: str, *, hosts_count: int, ages: Delays
) -> Iterator[CheckResult]:
    """Look at a folder together with a process of this host, and with others who answer.

    Args:
        directory: where to meet; it is made, and removed where nobody else uses it.
        hosts_count: how many others to wait for, for as long as an answer may take.
        ages: the settings.
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
        yield bad("two sides", f"no second process could be started ({error})", "see to that first")
        return
    try:
        yield from _look(directory, child.pid, hosts_count, ages)
    finally:
        child.terminate()
        child.wait()
        list(peers_in(directory))  # what it left goes
        with contextlib.suppress(OSError):  # gone, or others still answer
            os.rmdir(directory)


def _look(directory: str, child_pid: int, hosts_count: int, ages: Delays) -> Iterator[CheckResult]:
    def ours() -> list[str]:
        return [path for path in peers_in(directory) if path.endswith(f".{child_pid}")]

    def others() -> list[str]:
        return [path for path in peers_in(directory) if path not in ours()]

    if not poll_until(lambda: bool(ours()), wait_s=_CHILD_S):
        yield bad("two sides", "a process of this host cannot answer", f"see to {directory}")
        return
    yield from _look_with(Peer(ours()[0]), "a second process", ages)
    if not poll_until(lambda: len(others()) >= hosts_count):
        yield warn(
            "other hosts",
            f"{len(others())} of {hosts_count} answer",
            "start 'supervisor doctor --echo' there, for the same root, and look again",
        )
    for path in others():
        yield from _look_with(Peer(path), os.path.basename(path).rpartition(".")[0], ages)


def _look_with(peer: Peer, who: str, ages: Delays) -> Iterator[CheckResult]:
    told = peer.end(peer.begin("greet"), wait_s=_GREET_S)
    if told is None or "error" in told:
        yield warn(
            who,
            f"{peer.name} does not answer" + (f" ({told['error']})" if told else ""),
            f"end 'supervisor doctor --echo' there; where none runs: rm -r {peer.place}",
        )
        return
    try:
        yield _changes(peer, who, ages)
        yield _once(peer, who)
        yield _lock(peer, who)
        yield _clocks(peer, who, told)
        peer.begin("leave")
        poll_until(lambda: not os.path.lexists(peer.place), wait_s=_GREET_S)
    except (OSError, TypedError) as error:
        yield bad(who, f"looking failed ({error})", "see to the folder, and look again")


def _changes(peer: Peer, who: str, ages: Delays) -> CheckResult:
    slowest: dict[str, float] = {}
    for kind in CHANGES:
        began, number = time.monotonic(), 0
        while number == 0 or time.monotonic() - began < _ROUNDS_S / len(CHANGES):
            seen_s = peer.change(kind, number)
            if seen_s is None:
                return bad(
                    f"{who}: changes",
                    f"a file that was {kind} is not seen within {ANSWER_S:g} s",
                    "mount the folder so that hosts see each other's changes (NFS: actimeo=1)",
                )
            slowest[kind] = max(slowest.get(kind, 0.0), seen_s)
            number += 1
    words = ", ".join(f"{kind} {seconds:.3f}" for kind, seconds in slowest.items())
    what, worst_s = f"seen after at most (s): {words}", max(slowest.values())
    mend = "mount the folder so that hosts see each other's changes sooner (NFS: actimeo=1)"
    if worst_s + ages.interval_s >= ages.hung_after_s:
        return bad(f"{who}: changes", f"{what}; a living worker may look dead", mend)
    if worst_s > ages.interval_s:
        return warn(f"{who}: changes", f"{what}; more than a heartbeat", mend)
    return ok(f"{who}: changes", what)


def _once(peer: Peer, who: str) -> CheckResult:
    """Both make the same names, from either end: each may be made by one alone."""
    token = peer.begin("win")
    mine = win_names(peer.place, backwards=False)
    told = peer.end(token)
    if told is None or "won" not in told:
        why = "no answer" if told is None else told.get("error")
        return bad(f"{who}: claims", f"could not be tried ({why})", "see to the folder")
    both = set(mine) & set(told["won"])
    what = f"{len(mine)} and {len(told['won'])} of {NAMES_COUNT} names made"
    if both:
        return bad(
            f"{who}: claims",
            f"{what}, {len(both)} of them by both",
            "put the root on another file system: a run could be started twice",
        )
    return ok(f"{who}: claims", f"{what}, none by both")


def _lock(peer: Peer, who: str) -> CheckResult:
    mend = "start supervisors of this root on one host only, or mount it with locks that all see"
    fd = None
    try:
        fd = lock(os.path.join(peer.place, "lock"))
        told = peer.end(peer.begin("lock"))
    except OSError as error:
        return warn(f"{who}: flock", f"does not work ({error.strerror})", mend)
    finally:
        if fd is not None:
            os.close(fd)
    if told is None or "got" not in told:
        why = "no answer" if told is None else told.get("error")
        return warn(f"{who}: flock", f"does not work there ({why})", mend)
    if told["got"]:
        return warn(f"{who}: flock", "a lock that we hold is not seen there", mend)
    return ok(f"{who}: flock", "a lock that we hold is seen there")


def _clocks(peer: Peer, who: str, told: Mapping[str, Any]) -> CheckResult:
    """Both clocks against the one that stamps files; no run is judged by any of them."""
    ours_s = file_clock_s(os.path.join(peer.place, "clock.ours"))
    apart_s = round(ours_s - float(told["file_clock_s"]), 2) or 0.0
    what = f"{apart_s:+.2f} s from ours, by the times of files; Python {told.get('python')}"
    if abs(apart_s) <= _CLOCKS_S:
        return ok(f"{who}: clock", what)
    return warn(
        f"{who}: clock",
        what,
        "keep the hosts' clocks together (NTP): times in records are their writers'",
    )
