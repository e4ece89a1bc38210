"""Every path of the protocol; no other module spells one.

::

    <root>/.runs/                              0700, files 0600
        <task>.lock                            flock(2): held to rewrite the task's state
        <task>/metrics.json
        <task>/cli/<run-id>/                   a run's directory; appears whole, by rename
            spec.json  .owner  journal.ndjson  .heartbeat  manifest.json  cancel.json
            placement.json  .claim.N  .claim.N.revoked
            commands/NN-<slug>.stdout.log      .stderr.log; earlier tries NN-<slug>.try-K.…
            errors/NN-<slug>.json
        .supervisor/                           lease.lock lease.json root.json status.json …
            inbox/ accepted/ rejected/ slots/ callers/
    <root>/out/<task>/                         history.ndjson state.json
"""

import os

from workers.records.dataclass import dataclass
from workers.records.ids import check_id, check_run_id


class FixedPath:
    """A path with a fixed name below a run's directory or below the root, as an attribute."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, owner: "RunDir | Layout", _: type) -> str:
        return os.path.join(owner.root if isinstance(owner, Layout) else owner.path, self._name)


@dataclass(frozen=True, slots=True)
class RunDir:
    """The files of one run. ``path`` is the run's directory."""

    path: str

    spec = FixedPath("spec.json")  # the request; written once by the supervisor
    owner = FixedPath(".owner")  # its flock proves that the run has a worker
    journal = FixedPath("journal.ndjson")  # facts in order; written by the holder of ``owner``
    heartbeat = FixedPath(".heartbeat")  # one instant per line, newest last
    manifest = FixedPath("manifest.json")  # the run's record, a projection of the journal
    cancel = FixedPath("cancel.json")  # the supervisor's request that the worker end the run
    placement = FixedPath("placement.json")  # who may start the newest attempt, and its resources
    commands = FixedPath("commands")  # directory of captured output
    errors = FixedPath("errors")  # directory of error files
    hooks = FixedPath("hooks")  # directory of hook results

    @property
    def run_id(self) -> str:
        """The run's id: the directory's name."""
        return os.path.basename(self.path)

    @property
    def building(self) -> str:
        """Where the directory is built before it is renamed into place, on the same disk."""
        return os.path.join(os.path.dirname(self.path), f".{self.run_id}.building")

    def claim(self, attempt: int) -> str:
        """Who began an attempt, or revoked it; the first one creates it."""
        return f"{self.path}/.claim.{attempt}"

    def revoked_claim(self, attempt: int) -> str:
        """A revoked claim: its worker must not write to the run's records any more."""
        return f"{self.claim(attempt)}.revoked"

    def hook(self, event: str) -> str:
        """The result of one hook; created before the hook starts."""
        return f"{self.hooks}/{event}.json"

    def stage_log(self, index: int, slug: str, stream: str, earlier_try: int | None = None) -> str:
        """The captured output of a stage.

        Args:
            index: the stage's place, from 1.
            slug: the stage's id.
            stream: "stdout" or "stderr".
            earlier_try: the number of a try that was retried; None for the last one.
        """
        part = "" if earlier_try is None else f".try-{earlier_try}"
        return f"{self.commands}/{index:02d}-{slug}{part}.{stream}.log"

    def error_file(self, index: int, slug: str) -> str:
        """The error file of a failed stage."""
        return f"{self.errors}/{index:02d}-{slug}.json"


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths under one root. ``root`` is absolute."""

    root: str

    runs = FixedPath(".runs")  # directory of all runs
    out = FixedPath("out")  # directory of histories and states
    control = FixedPath(".runs/.supervisor")  # the supervisor's own directory
    lease_lock = FixedPath(".runs/.supervisor/lease.lock")  # flock of the root's one supervisor
    lease = FixedPath(".runs/.supervisor/lease.json")  # who holds the lease: a hint for people
    lease_next = FixedPath(".runs/.supervisor/lease.next")  # flock of a start that takes it over
    root_record = FixedPath(".runs/.supervisor/root.json")  # identity of the root: detects a copy
    newest = FixedPath(".runs/.supervisor/newest.json")  # the run that was accepted last
    inbox = FixedPath(".runs/.supervisor/inbox")  # requests arrive here, by rename
    accepted = FixedPath(".runs/.supervisor/accepted")  # a marker per run not yet in the state
    rejected = FixedPath(".runs/.supervisor/rejected")  # files of the inbox that are no requests
    repaired = FixedPath(".runs/.supervisor/repaired")  # what ``repair`` moved, a directory each
    probe = FixedPath(".runs/.supervisor/probe")  # where ``doctor`` meets its peer
    slots = FixedPath(".runs/.supervisor/slots")  # slots that all runs share
    slots_waiting = FixedPath(".runs/.supervisor/slots/waiting")  # tickets of waiting stages
    callers = FixedPath(".runs/.supervisor/callers")  # a lock per run that waits for its caller
    log = FixedPath(".runs/.supervisor/supervisor.log")  # JSON lines
    status = FixedPath(".runs/.supervisor/status.json")  # the supervisor's view of its runs
    paused = FixedPath(".runs/.supervisor/paused.json")  # the operator's pauses
    hooks = FixedPath(".runs/.supervisor/hooks")  # a marker per run whose hooks have not all ended

    def slot(self, name: str, number: int) -> str:
        """The file whose flock is one slot; ``number`` counts from 0."""
        return f"{self.slots}/{check_id('slot', name)}.{number}"

    def caller(self, run_id: str) -> str:
        """The file whose flock proves that a run's caller is alive and hosts it."""
        return f"{self.callers}/{check_run_id(run_id)}"

    def hint(self, run_id: str) -> str:
        """An empty file of the inbox: the run has changed."""
        return f"{self.inbox}/.{check_run_id(run_id)}.hint"

    def remembered(self, name: str) -> str:
        """A cache of checked configuration."""
        return f"{self.control}/remembered-{name}.json"

    def hook_marker(self, run_id: str) -> str:
        """The marker of a run whose hooks have not all ended."""
        return f"{self.hooks}/{check_run_id(run_id)}"

    def marker(self, run_id: str) -> str:
        """The marker of an accepted run."""
        return f"{self.accepted}/{check_run_id(run_id)}"

    def task_dir(self, task_id: str) -> str:
        """A task's directory under ``.runs``."""
        return f"{self.runs}/{check_id('task', task_id)}"

    def runs_of(self, task_id: str) -> str:
        """The directory of a task's run directories."""
        return f"{self.task_dir(task_id)}/cli"

    def removed_of(self, task_id: str) -> str:
        """Where retention moves a task's run directories before it deletes them."""
        return f"{self.runs_of(task_id)}/.removed"

    def run_dir(self, task_id: str, run_id: str) -> RunDir:
        """The files of one run."""
        return RunDir(f"{self.runs_of(task_id)}/{check_run_id(run_id)}")

    def metrics(self, task_id: str) -> str:
        """A task's totals, percentiles and guardrails."""
        return f"{self.task_dir(task_id)}/metrics.json"

    def state_lock(self, task_id: str) -> str:
        """The lock of a task's state."""
        return f"{self.runs}/{check_id('task', task_id)}.lock"

    def out_dir(self, task_id: str) -> str:
        """The directory of a task's history and state."""
        return f"{self.out}/{check_id('task', task_id)}"

    def history(self, task_id: str) -> str:
        """One line per finished run, never removed."""
        return f"{self.out_dir(task_id)}/history.ndjson"

    def state(self, task_id: str) -> str:
        """A bounded view of the history."""
        return f"{self.out_dir(task_id)}/state.json"

    def relative(self, path: str) -> str:
        """A path as records spell it: relative to the root, with slashes."""
        prefix = self.root.rstrip("/") + "/"
        if path.startswith(prefix):  # the usual case
            return path[len(prefix) :]
        return os.path.relpath(path, self.root)


def layout_of_run(run: RunDir) -> Layout:
    """The root that a run's directory belongs to: ``<root>/.runs/<task>/cli/<run-id>``."""
    root = run.path
    for _ in range(4):
        root = os.path.dirname(root)
    return Layout(root)
