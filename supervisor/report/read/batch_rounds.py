"""Which runs of a batch have ended, whoever supervised them."""

import contextlib
import os
from collections.abc import Collection, Iterator

from supervisor.report.read.run_records import load_manifest
from supervisor.store.root_listing import tasks
from workers.records.ids import is_run_id
from workers.records.layout import Layout
from workers.records.manifest import FINAL
from workers.records.read_spec import load_spec
from workers.records.typed_errors import TypedError

_INSTANT_CHARS = len("2025-10-31T22-56-34-431Z")  # what an id begins with


def finished_in_batch(
    layout: Layout, batch: str, rounds: Collection[str]
) -> Iterator[tuple[str, str, str, str | None]]:
    """The runs of some rounds of a batch that have their verdict; those of stages are left out.

    Only runs that are not older than the rounds are read.

    Args:
        layout: the root.
        batch: the batch's key.
        rounds: their ``asked_at``.

    Yields:
        Task id, run id, status and status_detail of each. A run that cannot be read is left out.
    """
    if not rounds:
        return
    first = min(rounds).replace(":", "-").replace(".", "-")
    for task_id in tasks(layout):
        with contextlib.suppress(OSError):
            for run_id in sorted(os.listdir(layout.runs_of(task_id))):
                if not is_run_id(run_id) or run_id[:_INSTANT_CHARS] < first:
                    continue
                with contextlib.suppress(OSError, TypedError):
                    spec = load_spec(layout.run_dir(task_id, run_id).spec)
                    if spec.batch != batch or spec.asked_at not in rounds:
                        continue
                    manifest = load_manifest(layout, task_id, run_id)
                    if manifest["status"] in FINAL:
                        yield task_id, run_id, manifest["status"], manifest["status_detail"]
