"""Waiting for runs to be on record, and seeing to it that somebody serves them."""

import os
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from supervisor.commands.ondemand_supervisor import start_ondemand_supervisor
from supervisor.commands.unserved import Waiting
from supervisor.core.policy.exit_codes import exit_code
from supervisor.errors import OndemandSupervisorError
from supervisor.report.read.run_records import load_manifest
from workers.records.dataclass import dataclass
from workers.records.files import read_object
from workers.records.flock import is_flocked
from workers.records.layout import Layout
from workers.records.manifest import FINAL
from workers.records.manifest_check import check_manifest
from workers.records.typed_errors import NewerRecordError, TypedError

POLL_S: Final = 0.1
HELPERS_COUNT: Final = 3  # a helper that dies this often without serving will not do better


@dataclass(frozen=True, slots=True)
class RunRef:
    """A run that somebody waits for."""

    task_id: str
    run_id: str


def final_manifest(layout: Layout, run: RunRef) -> dict[str, Any] | None:
    """The final manifest of a run that is on record, else None.

    On record means: in history and state (its marker is gone), or in history while the state's
    lock is held by somebody else, or final while nobody serves the root.

    Raises:
        NewerRecordError: a later version wrote it; this one cannot tell.
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


def ended(layout: Layout, run: RunRef) -> dict[str, Any] | None:
    """The final manifest of a run that is settled, or that has ended while nobody serves the root.

    A worker that outlived its supervisor wrote its verdict to the journal, where ``status`` and
    ``show`` read it; the next start puts it on record.

    Raises:
        NewerRecordError: a later version wrote it; this one cannot tell.
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
    """The exit code of a final manifest."""
    return exit_code(str(manifest.get("status")), manifest.get("status_detail"))


class Service:
    """Sees to it that a supervisor serves the root while we wait.

    Args:
        layout: the root.
        config: ``--config`` as the operator gave it.
    """

    def __init__(self, layout: Layout, config: str | None) -> None:
        self._layout = layout
        self._config = config
        self._helper: subprocess.Popen[bytes] | None = None
        self._failures_count = 0

    def ensure(self) -> None:
        """Start a helper where nobody serves.

        Raises:
            OndemandSupervisorError: they exit without serving; the error names their log.
        """
        if self._helper is not None:
            code = self._helper.poll()
            if code is None:
                return
            self._helper = None
            self._failures_count += code not in (0, 10, 11, 12)
            if self._failures_count >= HELPERS_COUNT:
                path = os.path.join(self._layout.control, "helper.log")
                raise OndemandSupervisorError(code=code, path=path)
        if not is_flocked(self._layout.lease_lock):
            self._helper = start_ondemand_supervisor(self._layout, self._config)

    def leave(self) -> None:
        """Let the helper go on by itself: its verdicts are in the records, not in its exit code."""
        if self._helper is not None:
            self._helper.returncode = self._helper.poll() or 0


def wait_for(
    layout: Layout,
    runs: Iterable[RunRef],
    *,
    timeout_s: float | None,
    meanwhile: Callable[[], None],
    over: Mapping[RunRef, dict[str, Any]] | None = None,
    find: Callable[[Layout, RunRef], dict[str, Any] | None] = final_manifest,
    enough: int | None = None,
) -> dict[RunRef, dict[str, Any]]:
    """Wait until runs are on record.

    Args:
        layout: the root.
        runs: what to wait for.
        timeout_s: the longest wait; None waits for ever.
        meanwhile: called between two looks.
        over: those that are over although they have no record any more, and how; ``meanwhile``
            may add to it.
        find: finds the final manifest of a run that need not be waited for any more.
        enough: how many are enough; None: all.

    Returns:
        The final manifests; fewer than asked for where the time ran out.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    found: dict[RunRef, dict[str, Any]] = {}
    missing = list(runs)
    waiting = Waiting(layout)
    while True:
        for run in list(missing):
            manifest = (over or {}).get(run) or find(layout, run)
            if manifest is not None:
                found[run] = manifest
                missing.remove(run)
        if not missing or (enough is not None and len(found) >= enough):
            return found
        if deadline is not None and time.monotonic() >= deadline:
            return found
        meanwhile()
        waiting.explain()
        time.sleep(POLL_S * (1 + len(missing) / 10))  # many may wait a little longer
