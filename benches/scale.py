"""``python -m benches.scale``: count the requests of runs to a shared folder.

strace counts the calls on paths below the root, of the supervisor and of all other processes: per
run, as the difference between one run and nine, and per live run and second, while fifty are idle.
The loopback engine of the tests places the runs, so no cluster is needed. With ``--check`` strace
slows the supervisor's calls down, and the time of its scan is compared with the counts. ``--write``
writes the tables into docs/explanation/scale.md.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from benches.measure import until
from benches.place import directory, write_batch

REPOSITORY: Final = Path(__file__).parents[1]
PAGE: Final = REPOSITORY / "docs" / "explanation" / "scale.md"
LOOPBACK: Final = REPOSITORY / "tests" / "contract" / "launcher" / "supervised.py"
MORE: Final = 8
LIVE: Final = 50
QUIET_S: Final = 20.0
BEAT_S: Final = 5.0  # the default of heartbeat_interval_s
DELAY_S: Final = 0.005
READS: Final = ("openat", "newfstatat", "fstat", "stat", "lseek", "read", "pread64")
COUNTS: Final = (1_000, 10_000, 100_000)
RUN_S: Final = 600.0
LATENCIES_MS: Final = (
    0.2,
    1.0,
    5.0,
)  # a server in the same rack, in the same building, and a busy one
BEGIN, END = "<!-- benches.scale -->", "<!-- end of benches.scale -->"
LINE: Final = re.compile(r"^(\d+) +(\d+\.\d+) (\w+)\((.*)$")
# The kind of each call, and its requests to an NFSv4 server that has given no delegation: an open
# is an OPEN and a CLOSE, a lock is taken and released. A call that a client may answer from its
# cache (a stat by descriptor, within actimeo) counts as a request.
KINDS: Final = {
    "open": ("openat",),
    "stat by name": ("stat", "lstat", "newfstatat", "statx", "access", "faccessat2", "readlink"),
    "stat by descriptor": ("fstat", "lseek"),
    "read": ("read", "pread64"),
    "write": ("write", "pwrite64"),
    "flush": ("fsync", "fdatasync"),
    "rename, link, unlink": ("rename", "renameat2", "link", "linkat", "unlink", "unlinkat"),
    "create or remove a directory": ("mkdir", "rmdir"),
    "shorten, change the mode": ("ftruncate", "chmod", "fchmod"),
    "list a directory": ("getdents64",),
    "lock": ("flock",),
}
REQUESTS: Final = {"open": 2, "lock": 2}  # of the others: 1
KIND_OF: Final = {call: kind for kind, calls in KINDS.items() for call in calls}
Counts = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Call:
    """One call on a path below the root."""

    pid: int
    at_s: float
    kind: str
    text: str


def requests(counts: Counts) -> float:
    """The number of requests for these calls."""
    return sum(REQUESTS.get(kind, 1) * count for kind, count in counts.items())


def argv(launcher: str) -> tuple[list[str], dict[str, str]]:
    """The command line and environment of our program, with or without the loopback engine."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SUPERVISOR_")}
    if launcher == "local":
        return [sys.executable, "-m", "supervisor"], clean
    return [sys.executable, str(LOOPBACK)], {**clean, "PYTHONPATH": str(REPOSITORY)}


def calls_in(trace: Path, root: Path) -> list[Call]:
    """The traced calls on paths below the root."""
    found = []
    below = f"{root}/"
    for line in trace.read_text(errors="replace").splitlines():
        match = LINE.match(line)
        if match is None or below not in match[4]:
            continue
        kind = KIND_OF[match[3]]
        if match[3] == "newfstatat" and ', "", ' in match[4]:
            kind = "stat by descriptor"
        found.append(Call(int(match[1]), float(match[2]), kind, match[4]))
    return found


STRACE: Final = ("strace", "-f", "-qq", "-y", "-ttt", "-s", "0")


@contextmanager
def batch(
    launcher: str, count: int, command: str, *more: str, trace: bool = True, apart: bool = False
) -> Iterator[tuple[Path, Path, int]]:
    """Run a batch under strace and stop it at the end; yields the root, the trace and the pid.

    With ``apart`` the runs are submitted one by one beforehand.
    """
    with directory() as place:
        root, engine = place / "root", place / "engine"
        root.mkdir()
        engine.mkdir()
        (engine / "slots").write_text(str(count))
        write_batch(root, count, command)
        program, environ = argv(launcher)
        settings = {"SUPERVISOR_LAUNCHER": "zygote" if launcher == "local" else "dask"}
        for _ in range(count if apart else 0):
            hand_in = [*program, "submit", "--root", str(root), "--", command]
            subprocess.run(hand_in, env=environ, check=True, capture_output=True, timeout=60)
        # Not with --seccomp-bpf: calls of processes that outlive strace would be refused.
        under = [*STRACE, "-o", str(place / "trace"), "-e", f"trace={','.join(KIND_OF)}"]
        line = [*(under if trace else ()), *program, "start", "--root", str(root)]
        process = subprocess.Popen(
            [*line, *(() if apart else ("--batch", "batch.toml")), "--max-runs", str(count), *more],
            cwd=root,
            env={**environ, **settings, "LOOPBACK": str(engine)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield root, place / "trace", process.pid
        finally:
            until(lambda: process.poll() is not None or _is_served(root), "served", timeout_s=60.0)
            if process.poll() is None:
                stop = [*program, "stop", "--root", str(root)]
                subprocess.run(stop, env=environ, check=False, timeout=120, capture_output=True)
            process.wait(120)


@contextmanager
def quiet(launcher: str, *, trace: bool = True) -> Iterator[tuple[Path, Path, int]]:
    """Like ``batch``, with idle runs that have all started."""
    with batch(launcher, LIVE, "sleep 600", trace=trace) as found:
        until(lambda: _alive_count(found[0]) == LIVE, "they are alive", timeout_s=120.0)
        time.sleep(2 * BEAT_S)
        yield found


def per_run(launcher: str, *, apart: bool = False) -> tuple[Counts, Counts]:
    """Calls of one more run of ``true``: by the supervisor, and by all other processes."""
    totals = []
    for count in (1, 1 + MORE):
        with batch(launcher, count, "true", "--once", apart=apart) as (root, trace, pid):
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            totals.append(_split(calls_in(trace, root)))
    (one_ours, one_theirs), (many_ours, many_theirs) = totals
    return tuple(
        {kind: max(0.0, (many[kind] - one[kind]) / MORE) for kind in KINDS}
        for one, many in ((one_ours, many_ours), (one_theirs, many_theirs))
    )  # type: ignore[return-value]  # there are two pairs


def _split(calls: list[Call]) -> tuple[Counter[str], Counter[str]]:
    first = calls[0].pid
    ours = Counter(call.kind for call in calls if call.pid == first)
    return ours, Counter(call.kind for call in calls if call.pid != first)


def while_quiet(launcher: str) -> tuple[Counts, Counts]:
    """Calls per second of one idle live run: by the supervisor, and by the worker."""
    with quiet(launcher) as (root, trace, _):
        began = time.time()
        time.sleep(QUIET_S)
        ended = time.time()
        calls = calls_in(trace, root)
        first = calls[0].pid
        of = [c for c in calls if began <= c.at_s < ended and "/cli/" in c.text]
    shares = []
    for ours in (True, False):
        counts = Counter(c.kind for c in of if (c.pid == first) == ours)
        shares.append({kind: counts[kind] / QUIET_S / LIVE for kind in KINDS})
    return shares[0], shares[1]


def _is_served(root: Path) -> bool:
    return (root / ".runs/.supervisor/status.json").exists()


def _alive_count(root: Path) -> int:
    return sum(1 for path in root.glob(".runs/*/cli/*/.heartbeat") if path.stat().st_size)


def check(launcher: str) -> tuple[float, float]:
    """Time the supervisor's scans while each of its reads takes longer.

    Returns:
        The median time from one scan to the next, and the time of its reads alone, in seconds.
    """
    with quiet(launcher, trace=False) as (root, trace, pid):
        slow = f"inject={','.join(READS)}:delay_exit={round(DELAY_S * 1e6)}"
        attached = ["timeout", "-s", "INT", str(QUIET_S), "strace", *STRACE[2:], "-p", str(pid)]
        subprocess.run(
            [*attached, "-o", str(trace), "-e", f"trace={','.join(READS)}", "-e", slow],
            check=False,
            capture_output=True,
        )
        lines = [f"{pid} {line}" for line in trace.read_text().splitlines()]
        trace.write_text("\n".join(lines))
        calls = [call for call in calls_in(trace, root) if "/cli/" in call.text]
    one = next(m[0] for call in calls if (m := re.search(r"[^<\"]*/\.heartbeat", call.text)))
    at = [number for number, call in enumerate(calls) if one in call.text]
    # A heartbeat that has not moved is checked twice in a row, by descriptor and by name.
    at = [b for a, b in pairwise([-LIVE, *at]) if b - a > LIVE]
    scans = list(pairwise(at))
    took = statistics.median(calls[b].at_s - calls[a].at_s for a, b in scans)
    return took, statistics.median(b - a for a, b in scans) * DELAY_S


def tables() -> Iterator[str]:
    """The counts and their consequences, as Markdown."""
    sides: list[tuple[str, Counts]] = []
    for launcher in ("local", "placed"):
        ours, theirs = per_run(launcher)
        sides += [(f"{launcher}, supervisor", ours), (f"{launcher}, worker", theirs)]
    asked, _ = per_run("local", apart=True)
    alone = {kind: max(0.0, asked[kind] - sides[0][1][kind]) for kind in KINDS}
    sides.append(("supervisor, a request of its own", alone))
    yield "Calls of one run of `true`:\n"
    yield from _table(sides, 1)
    rates: list[tuple[str, Counts]] = []
    for launcher in ("local", "placed"):
        ours, theirs = while_quiet(launcher)
        rates += [(f"{launcher}, supervisor", ours), (f"{launcher}, worker", theirs)]
    yield "\nCalls per second of one live run that does nothing:\n"
    yield from _table(rates, 2)
    yield from _limits(dict(sides), dict(rates))


def _table(sides: list[tuple[str, Counts]], digits: int) -> Iterator[str]:
    yield f"| call | {' | '.join(name for name, _ in sides)} |"
    yield "|---|" + "---:|" * len(sides)
    for kind in KINDS:
        cells = [f"{counts[kind]:.{digits}f}" for _, counts in sides]
        if any(counts[kind] >= 0.5 * 10**-digits for _, counts in sides):
            yield f"| {kind} | {' | '.join(cells)} |"
    asked = [f"{requests(counts):.{digits}f}" for _, counts in sides]
    yield f"| **requests to a server** | {' | '.join(asked)} |"


def _limits(per_run: Mapping[str, Counts], rates: Mapping[str, Counts]) -> Iterator[str]:
    ends, looks = (requests(found["placed, supervisor"]) for found in (per_run, rates))
    all_ends = ends + requests(per_run["placed, worker"])
    beats = requests(rates["placed, worker"])
    yield "\nConsequences for placed runs of ten minutes each:\n"
    heads = [f"{count:,}" for count in COUNTS]
    yield f"| live runs | {' | '.join(heads)} |"
    yield "|---|" + "---:|" * len(COUNTS)
    rows = [
        ("runs that end, per second", [n / RUN_S for n in COUNTS]),
        ("requests per second, from heartbeats of workers", [n * beats for n in COUNTS]),
        (
            "requests per second, from runs that start and end",
            [n / RUN_S * all_ends for n in COUNTS],
        ),
        ("requests of one scan", [n * looks for n in COUNTS]),
    ]
    for ms in LATENCIES_MS:
        rows.append((f"one scan at {ms:g} ms a request, s", [n * looks * ms / 1e3 for n in COUNTS]))
    for ms in LATENCIES_MS:
        share = [n / RUN_S * ends * ms / 1e3 for n in COUNTS]
        rows.append((f"starts and ends at {ms:g} ms, s of each second", share))
    for name, values in rows:
        yield f"| {name} | {' | '.join(map(_figure, values))} |"


def _figure(value: float) -> str:
    """Round to two digits, the precision of the counts."""
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"


def main(argv: list[str]) -> int:
    """Count, and print or write the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benches.scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--write", action="store_true", help="write into docs/explanation/scale.md")
    parser.add_argument("--check", action="store_true", help="time a scan with slow calls instead")
    given = parser.parse_args(argv)
    if given.check:
        for launcher in ("local", "placed"):
            took_s, reads_s = check(launcher)
            print(
                f"{launcher}: {LIVE} quiet runs, each read {DELAY_S * 1000:g} ms slower: "
                f"a scan every {took_s:.2f} s, of which its reads take {reads_s:.2f} s"
            )
        return 0
    text = "\n".join(tables())
    if given.write:
        page = PAGE.read_text()
        before, rest = page.split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
