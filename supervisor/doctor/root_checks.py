"""Health checks of a root: its owner, its supervisor, waiting requests, leftovers."""

import os
import stat
import time
from collections.abc import Iterator
from typing import Any, Final

from supervisor.doctor.check_result import CheckResult, bad, ok, warn
from supervisor.report.read.queue_state import SHOWN_COUNT
from supervisor.report.read.run_records import pending_specs
from supervisor.store.lease_reader import read_lease
from supervisor.store.root_listing import active_ids, rejected, tasks
from supervisor.store.root_record import copied_from, load_root_record, root_record
from workers.records.atomic import is_abandoned
from workers.records.clock import epoch_of
from workers.records.flock import is_flocked
from workers.records.history import last_lines
from workers.records.identity import Identity, boot_id
from workers.records.ids import is_run_id, run_id_instant
from workers.records.json_reader import JsonReader
from workers.records.layout import Layout
from workers.records.proc import is_running, proc_stat
from workers.records.request import now_text, request_paths
from workers.records.typed_errors import TypedError

_CLOCK_SLACK_S: Final = 1.0  # an adjusted clock may be slewed


def check_root(layout: Layout) -> Iterator[CheckResult]:
    """Check a root that a supervisor has served."""
    for directory in (layout.runs, layout.out):
        yield _directory(layout, directory)
    yield _identity(layout)
    yield _lease(layout)
    yield from _requests(layout)
    yield _leftovers(layout)
    yield _newest(layout)


def _directory(layout: Layout, path: str) -> CheckResult:
    name = f"{layout.relative(path)}/"
    try:
        found = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return warn(name, "is missing", "the next start creates it; its history is lost")
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISDIR(found.st_mode):
        return bad(name, "is not a directory, or a link to one", "move it away")
    if found.st_uid != os.geteuid():
        return bad(
            name,
            f"belongs to uid {found.st_uid}; you are uid {os.geteuid()}",
            "run as its owner, or choose another --root",
        )
    if mode & 0o077:
        return warn(
            name, f"is open to others (mode {mode:o})", f"chmod 700 {path}; 'start' does it too"
        )
    return ok(name, f"yours, mode {mode:o}")


def _identity(layout: Layout) -> CheckResult:
    """Detect a copied or restored root that no supervisor has served since."""
    try:
        copied = copied_from(load_root_record(layout), root_record(layout))
    except OSError as error:
        return warn("root", f"cannot be identified: {error}", f"fix {layout.runs}/")
    if copied is None:
        return ok("root", "not copied or restored")
    return warn(
        "root",
        copied.summary,
        "'supervisor start' records runs that were in progress as worker-lost and starts queued "
        "ones; run 'supervisor pause' first to keep those queued",
    )


def _lease(layout: Layout) -> CheckResult:
    data = read_lease(layout)
    try:
        holder = Identity.from_fields(JsonReader(data, layout.lease).child("identity"))
    except TypedError:
        holder = None
    if not is_flocked(layout.lease_lock):
        if not data:
            return ok("lease", "free: no supervisor is running")
        pid = "unknown" if holder is None else str(holder.pid)
        return warn(
            "lease",
            f"free; lease.json was left by a supervisor that died (pid {pid})",
            "'supervisor start' recovers its runs",
        )
    if holder is None:
        return warn(
            "lease",
            "held by a process that has not written lease.json",
            f"if this persists, 'fuser {layout.lease_lock}' shows the process",
        )
    what = f"held by pid {holder.pid} since {data.get('since')}: {data.get('command')}"
    if holder.boot_id != boot_id() or not is_running(holder.pid, holder.start_ticks):
        return warn(
            "lease",
            f"held, but pid {holder.pid} in lease.json does not exist any more",
            f"'fuser {layout.lease_lock}' shows the holder",
        )
    found = proc_stat(holder.pid)
    if found is not None and found.is_stopped:
        return warn("lease", f"{what}; it is stopped", f"kill -CONT {holder.pid}")
    return ok("lease", what)


def _requests(layout: Layout) -> Iterator[CheckResult]:
    served = is_flocked(layout.lease_lock)
    waiting = {
        "inbox": len(request_paths(layout)),
        "accepted": sum(map(is_run_id, _names(layout.accepted))),
    }
    for check, count in waiting.items():
        what = "waiting" if check == "inbox" else "not yet in history and state"
        if count and not served:
            yield warn(check, f"{count} {what}", "'supervisor start' takes them up")
        else:
            yield ok(check, f"{count} {what}")
    aside = rejected(layout)
    if aside:
        shown = ", ".join(aside[-SHOWN_COUNT:])
        yield warn(
            "rejected",
            f"{len(aside)} files of the inbox were rejected: {shown}",
            "check and remove them; supervisor.log has the reasons",
        )
    else:
        yield ok("rejected", "0 files of the inbox were rejected")


def _leftovers(layout: Layout) -> CheckResult:
    """Files that a start removes; ``verify`` reports those in run directories."""
    found = [n for d in (layout.inbox, layout.control) for n in _names(d) if is_abandoned(n)]
    if not found:
        return ok("leftovers", "none")
    return warn(
        "leftovers",
        f"{len(found)} temporary files of processes that died",
        "the next 'supervisor start' removes them",
    )


def _newest(layout: Layout) -> CheckResult:
    """After a clock went back, new run ids sort before existing ones."""
    found = [str(line.get("timestamp")) for line in _last_lines(layout)]
    found += [run_id_instant(run_id) for run_id in _newest_ids(layout)]
    newest = max(map(_epoch, found), default=0.0)
    ahead_s = newest - time.time()
    if ahead_s <= _CLOCK_SLACK_S:
        return ok("records", "none is in the future")
    return warn(
        "records",
        f"the newest is {ahead_s:.0f} s in the future (it is {now_text()})",
        "set the clock; until then lists sort new runs too early ('latest' is not affected)",
    )


def _last_lines(layout: Layout) -> Iterator[dict[str, Any]]:
    for task_id in tasks(layout):
        yield from last_lines(layout.history(task_id), 1)


def _newest_ids(layout: Layout) -> Iterator[str]:
    """The newest run ids: requested, unfinished, and of each task."""
    yield from (spec.run_id for spec in pending_specs(layout))
    yield from active_ids(layout)
    for task_id in tasks(layout):
        yield from sorted(filter(is_run_id, _names(layout.runs_of(task_id))))[-1:]


def _epoch(instant: str) -> float:
    try:
        return epoch_of(instant)
    except ValueError:
        return 0.0


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []
