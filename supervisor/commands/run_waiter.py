"""Waiting until runs have a recorded verdict."""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from supervisor.commands.wait_notice import WaitNotice
from supervisor.core.policy.exit_codes import exit_code
from supervisor.report.read.run_records import load_manifest
from workers.records.dataclass import dataclass
from workers.records.files import read_object
from workers.records.flock import is_flocked
from workers.records.layout import Layout
from workers.records.manifest import FINAL
from workers.records.manifest_check import check_manifest
from workers.records.typed_errors import NewerRecordError, TypedError

POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class RunRef:
    """A run to wait for."""

    task_id: str
    run_id: str


def final_manifest(layout: Layout, run: RunRef) -> dict[str, Any] | None:
    """The final manifest of a run whose verdict is recorded, else None.

    Recorded means: in history and state (the marker is gone); or in history while another process
    holds the state's lock; or final while no supervisor serves the root.

    Raises:
        NewerRecordError: a later version wrote it.
    """
    path = layout.run_dir(run.task_id, run.run_id).manifest
    try:
        manifest = read_object(path)
        check_manifest(manifest, path, task_id=run.task_id, run_id=run.run_id)
    except NewerRecordError:
        raise
    except (OSError, TypedError):
        return None
    if manifest.get("status") not in FINAL:
        return None
    if not os.path.lexists(layout.marker(run.run_id)):
        return manifest
    owed = any(w.get("code") == "snapshot_owed" for w in manifest["extensions"]["warnings"])
    return manifest if owed or not is_flocked(layout.lease_lock) else None


def ended_manifest(layout: Layout, run: RunRef) -> dict[str, Any] | None:
    """The final manifest of a run that has ended, recorded or not, else None.

    A worker that outlives its supervisor writes its verdict to the journal; the next start
    records it.

    Raises:
        NewerRecordError: a later version wrote it.
    """
    manifest = final_manifest(layout, run)
    if manifest is not None or is_flocked(layout.lease_lock):
        return manifest
    try:
        manifest = load_manifest(layout, run.task_id, run.run_id)
    except NewerRecordError:
        raise
    except (OSError, TypedError):
        return None
    return manifest if manifest["status"] in FINAL else None


def outcome(manifest: dict[str, Any]) -> int:
    """The exit status for a final manifest."""
    return exit_code(str(manifest.get("status")), manifest.get("status_detail"))


def wait_for(
    layout: Layout,
    runs: Iterable[RunRef],
    *,
    timeout_s: float | None,
    meanwhile: Callable[[], None],
    removed: Mapping[RunRef, dict[str, Any]] | None = None,
    find: Callable[[Layout, RunRef], dict[str, Any] | None] = final_manifest,
    enough: int | None = None,
) -> dict[RunRef, dict[str, Any]]:
    """Wait until runs have ended.

    Args:
        layout: the root.
        runs: the runs.
        timeout_s: the longest wait; None waits for ever.
        meanwhile: called between polls.
        removed: runs without a directory, and how they ended; ``meanwhile`` may add to it.
        find: returns the final manifest of a run that has ended.
        enough: the number of runs to wait for; None for all.

    Returns:
        The final manifests; fewer if the time is up.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    ended: dict[RunRef, dict[str, Any]] = {}
    missing = list(runs)
    notice = WaitNotice(layout)
    while True:
        for run in list(missing):
            manifest = (removed or {}).get(run) or find(layout, run)
            if manifest is not None:
                ended[run] = manifest
                missing.remove(run)
        if not missing or (enough is not None and len(ended) >= enough):
            return ended
        if deadline is not None and time.monotonic() >= deadline:
            return ended
        meanwhile()
        notice.update()
        time.sleep(POLL_S * (1 + len(missing) / 10))
