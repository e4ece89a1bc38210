"""Every path of the protocol, and no other module spells one.

::

    <root>/.runs/                              0700, files 0600
        <task>.lock                            flock(2): who rewrites the task's state
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


@dataclass(frozen=True, slots=True)
class RunDir:
    """The files of one run. ``path`` is the run's directory."""

    path: str

    @property
    def run_id(self) -> str:
        """The run's id, which is the directory's name."""
        return os.path.basename(self.path)

    @property
    def building(self) -> str:
        """Where the directory is built before it is renamed: beside its place, on its disk."""
        return os.path.join(os.path.dirname(self.path), f".{self.run_id}.building")

    @property
    def spec(self) -> str:
        """What was asked; written once by the supervisor."""
        return f"{self.path}/spec.json"

    @property
    def owner(self) -> str:
        """The file whose flock proves that the run has a worker."""
        return f"{self.path}/.owner"

    @property
    def journal(self) -> str:
        """The facts in order; appended by the holder of ``owner``."""
        return f"{self.path}/journal.ndjson"

    @property
    def heartbeat(self) -> str:
        """One instant per line, newest last."""
        return f"{self.path}/.heartbeat"

    @property
    def manifest(self) -> str:
        """The run's record, a projection of the journal."""
        return f"{self.path}/manifest.json"

    @property
    def cancel(self) -> str:
        """The supervisor's wish that the worker end the run."""
        return f"{self.path}/cancel.json"

    @property
    def placement(self) -> str:
        """Where an engine was asked to place the run's newest attempt, and with what resources."""
        return f"{self.path}/placement.json"

    def claim(self, attempt: int) -> str:
        """Who has begun an attempt, or has taken it back; made once, by whoever comes first."""
        return f"{self.path}/.claim.{attempt}"

    def revoked_claim(self, attempt: int) -> str:
        """The claim of a worker that may not tell anything any more."""
        return f"{self.claim(attempt)}.revoked"

    @property
    def commands(self) -> str:
        """The directory of captured output."""
        return f"{self.path}/commands"

    @property
    def errors(self) -> str:
        """The directory of error files."""
        return f"{self.path}/errors"

    @property
    def hooks(self) -> str:
        """The directory of what became of the run's hooks."""
        return f"{self.path}/hooks"

    def hook(self, event: str) -> str:
        """What became of one hook; made before it is started."""
        return f"{self.hooks}/{event}.json"

    def stage_log(self, index: int, slug: str, stream: str, earlier_try: int | None = None) -> str:
        """The captured output of a stage.

        Args:
            index: the stage's place, from 1.
            slug: the stage's id.
            stream: "stdout" or "stderr".
            earlier_try: the number of a try that was made again, None for the last one.
        """
        part = "" if earlier_try is None else f".try-{earlier_try}"
        return f"{self.commands}/{index:02d}-{slug}{part}.{stream}.log"

    def error_file(self, index: int, slug: str) -> str:
        """The error file of a failed stage."""
        return f"{self.errors}/{index:02d}-{slug}.json"


def layout_of_run(run: RunDir) -> "Layout":
    """The root that a run's directory is in: ``<root>/.runs/<task>/cli/<run-id>``."""
    root = run.path
    for _ in range(4):
        root = os.path.dirname(root)
    return Layout(root)


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths under one root. ``root`` is absolute."""

    root: str

    @property
    def runs(self) -> str:
        """The directory of all runs."""
        return os.path.join(self.root, ".runs")

    @property
    def out(self) -> str:
        """The directory of histories and states."""
        return os.path.join(self.root, "out")

    @property
    def control(self) -> str:
        """The supervisor's own directory."""
        return f"{self.runs}/.supervisor"

    @property
    def lease_lock(self) -> str:
        """The flock of the one supervisor of this root."""
        return f"{self.control}/lease.lock"

    @property
    def lease(self) -> str:
        """Who holds the lease: a hint for people."""
        return f"{self.control}/lease.json"

    @property
    def root_record(self) -> str:
        """Which directory the records were last served in: a copy shows by it."""
        return f"{self.control}/root.json"

    @property
    def newest(self) -> str:
        """Which run was accepted last."""
        return f"{self.control}/newest.json"

    @property
    def inbox(self) -> str:
        """Where requests arrive, by rename."""
        return f"{self.control}/inbox"

    @property
    def accepted(self) -> str:
        """One marker per run that is not yet in history and state."""
        return f"{self.control}/accepted"

    @property
    def rejected(self) -> str:
        """Request files that were not requests."""
        return f"{self.control}/rejected"

    @property
    def repaired(self) -> str:
        """What ``repair`` has moved or replaced, one directory for each time."""
        return f"{self.control}/repaired"

    @property
    def probe(self) -> str:
        """Where ``doctor`` meets who answers it."""
        return f"{self.control}/probe"

    @property
    def slots(self) -> str:
        """Where the slots are that all runs share."""
        return f"{self.control}/slots"

    @property
    def slots_waiting(self) -> str:
        """Where the tickets are of stages that wait for slots."""
        return f"{self.slots}/waiting"

    def slot(self, name: str, number: int) -> str:
        """The file whose flock is one slot; ``number`` counts from 0."""
        return f"{self.slots}/{check_id('slot', name)}.{number}"

    @property
    def callers(self) -> str:
        """One lock file per run that waits for the caller that hosts it."""
        return f"{self.control}/callers"

    def caller(self, run_id: str) -> str:
        """The file whose flock proves that a run's caller is there to host it."""
        return f"{self.callers}/{check_run_id(run_id)}"

    def hint(self, run_id: str) -> str:
        """A file of the inbox that says nothing but that a run has changed."""
        return f"{self.inbox}/.{check_run_id(run_id)}.hint"

    @property
    def lease_next(self) -> str:
        """The flock of a ``supervisor start`` that is taking the lease over."""
        return f"{self.control}/lease.next"

    def remembered(self, what: str) -> str:
        """What was read from the configuration and found right; a view for who reads it next."""
        return f"{self.control}/remembered-{what}.json"

    @property
    def log(self) -> str:
        """The supervisor's log, JSON lines."""
        return f"{self.control}/supervisor.log"

    @property
    def status(self) -> str:
        """The supervisor's view of its fleet, rewritten while it lives."""
        return f"{self.control}/status.json"

    @property
    def paused(self) -> str:
        """What the operator has paused."""
        return os.path.join(self.control, "paused.json")

    @property
    def hooks(self) -> str:
        """One marker per run that is on record and whose hooks have not all ended."""
        return f"{self.control}/hooks"

    def hook_marker(self, run_id: str) -> str:
        """The marker of a run whose hooks have not all ended."""
        return f"{self.hooks}/{check_run_id(run_id)}"

    def marker(self, run_id: str) -> str:
        """The marker of an accepted run."""
        return f"{self.accepted}/{check_run_id(run_id)}"

    def task_dir(self, task_id: str) -> str:
        """Everything of one task under ``.runs``."""
        return f"{self.runs}/{check_id('task', task_id)}"

    def runs_of(self, task_id: str) -> str:
        """The directory that holds a task's run directories."""
        return f"{self.task_dir(task_id)}/cli"

    def removed_of(self, task_id: str) -> str:
        """Where retention puts a task's run directories before it deletes them; beside them."""
        return os.path.join(self.runs_of(task_id), ".removed")

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
        """One line per finished run, for ever."""
        return f"{self.out_dir(task_id)}/history.ndjson"

    def state(self, task_id: str) -> str:
        """The snapshot: a bounded view of the history."""
        return f"{self.out_dir(task_id)}/state.json"

    def relative(self, path: str) -> str:
        """A path as records spell it: relative to the root, with slashes."""
        prefix = self.root.rstrip("/") + "/"
        if path.startswith(prefix):  # as every path of ours does
            return path[len(prefix) :]
        return os.path.relpath(path, self.root)
