"""A run made ready: it is ours, was not begun before, its journal is open and its spec is read.

Nothing has happened yet. The zygote does this before it forks, with code and memory that are warm;
a worker of its own interpreter does it itself.
"""

import os
from collections.abc import Mapping

from workers.entry.owner import is_done, own, own_by_claim
from workers.records.clock import SystemClock
from workers.records.dataclass import dataclass
from workers.records.files import ClaimFile
from workers.records.identity import root_id
from workers.records.journal import JournalWriter
from workers.records.layout import RunDir, layout_of_run
from workers.records.read_spec import load_spec
from workers.records.spec import RunSpec
from workers.records.typed_errors import TypedError


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRun:
    """A run that can begin.

    Attributes:
        environ: what the environment of every stage is built upon.
        journal: open; who does not begin closes it.
        spec: what to run, or why it cannot be read.
        root_id: identity of the root that the run belongs to.
    """

    run: RunDir
    environ: Mapping[str, str]
    journal: JournalWriter
    spec: RunSpec | OSError | TypedError
    root_id: str


def prepare_run(
    run: RunDir, owner_fd: int | None, environ: Mapping[str, str], *, claim: ClaimFile | None = None
) -> PreparedRun | None:
    """Make a run ready.

    Args:
        run: its directory, by its real path.
        owner_fd: its locked owner file; None where the lock is to be taken.
        environ: our environment.
        claim: our claim, where we were placed.

    Returns:
        The run; None where it has its verdict.

    Raises:
        TypedError: it is not ours to run.
        FileNotFoundError: it is no run.
        OSError: the system refused.
    """
    root = root_id(layout_of_run(run).runs)
    os.stat(run.journal)  # before .owner is made where there is no run
    if claim is None:
        own(run, owner_fd)
    else:
        own_by_claim(run, claim)
    if is_done(run):
        return None
    journal = JournalWriter(run.journal, by="worker", clock=SystemClock())
    spec: RunSpec | OSError | TypedError
    try:
        spec = load_spec(run.spec)
    except (OSError, TypedError) as error:
        spec = error
    return PreparedRun(run=run, environ=environ, journal=journal, spec=spec, root_id=root)
