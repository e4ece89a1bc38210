"""The supervisor's typed errors. Each says what to do next and carries its exit status.

Exit statuses: docs/reference/exit-codes.md. Errors of records: ``workers.records.typed_errors``.
"""

from collections.abc import Iterable
from typing import Any, Final

from workers.records.dataclass import dataclass
from workers.records.typed_errors import TypedError

CANNOT_WRITE: Final = 73  # also of an OSError that ends a command


class UsageError(TypedError):
    """The command line asks for something that does not exist. Facts: reason."""

    exit_code = 2
    template = "{reason}"


class AmbiguousRunError(TypedError):
    """Several run ids match. Facts: run, candidates (text)."""

    exit_code = 2
    template = "{run!r} matches several runs; give more of the id:\n{candidates}"


class NoCurrentDirectoryError(TypedError):
    """A path is relative, or missing, and the current directory was deleted. Facts: reason."""

    exit_code = 2
    template = (
        "the current directory does not exist any more ({reason}); "
        "change to another one, or give --root and every file as absolute paths"
    )


class UnknownRunError(TypedError):
    """The root has no such run. Facts: run."""

    exit_code = 4
    template = "there is no run {run!r} in this root; 'supervisor status' lists the newest"


class UnknownTaskError(TypedError):
    """The root has no such task, or no runs of it. Facts: reason."""

    exit_code = 4
    template = "{reason}"


class RunRemovedError(TypedError):
    """The run's directory was removed. Facts: run, task, status, ended, line (of the history)."""

    line: dict[str, Any]
    exit_code = 4
    template = (
        "run {run} of task {task} ended at {ended} ({status}) and its directory was removed, by "
        "'supervisor gc' or by hand; 'supervisor show {run}' prints what the history has of it"
    )


class ForeignRootError(TypedError):
    """A root or its records belong to another user. Facts: path, owner, fix."""

    exit_code = CANNOT_WRITE
    template = "{path} belongs to {owner}; {fix}"


class RootTooLongError(TypedError):
    """The root's path leaves no room for the paths below it. Facts: root, bytes, limit."""

    exit_code = CANNOT_WRITE
    template = (
        "{root}: the path of the root is {bytes} bytes long, but at most {limit} bytes leave room "
        "for the paths of records; choose a shorter root"
    )


class RootGoneError(TypedError):
    """``.runs`` vanished while a supervisor served it. Facts: path."""

    exit_code = CANNOT_WRITE
    template = (
        "{path} was deleted or renamed while it was served: running runs were killed and their "
        "verdicts could not be recorded; put it back and start again"
    )


class RequestRejectedError(TypedError):
    """The supervisor rejected our request. Facts: path, log."""

    exit_code = CANNOT_WRITE
    template = (
        "the supervisor rejected the request and moved it to {path}; see {log} for the reason"
    )


class LeaseHeldError(TypedError):
    """Another supervisor serves the root. Facts: root, pid, since."""

    exit_code = 75
    template = (
        "another supervisor (pid {pid}, since {since}) serves {root}; "
        "use 'supervisor submit' to give it work, or 'supervisor stop' to stop it"
    )


class TaskStateStoreLockError(TypedError):
    """Another process holds a task's state lock. Facts: task_id, lock_path, attempts, waited_s."""

    exit_code = 75
    template = (
        "task {task_id}: another process holds {lock_path} (attempts: {attempts}, waited: "
        "{waited_s} s); the snapshot is written when the lock is free"
    )


class OndemandSupervisorError(TypedError):
    """No temporary supervisor could be started for a waiting run. Facts: code, path."""

    exit_code = 1
    template = (
        "the temporary supervisor exits at once (exit status {code}); see {path} for the reason; "
        "the run is accepted and stays queued"
    )


class IllegalMoveError(TypedError):
    """A bug: the lifecycle's table has no such move. Facts: run_id, state, stimulus, story."""

    exit_code = 1
    template = "bug: run {run_id} is {state} and cannot {stimulus}; its history: {story}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a configuration.

    Attributes:
        source: the file, or the name of the environment variable.
        key_path: the key in it, "" for the file as a whole.
        message: what is wrong, and how to fix it.
    """

    source: str
    key_path: str
    message: str

    def __str__(self) -> str:
        place = f"{self.source}: {self.key_path}" if self.key_path else self.source
        return f"{place}: {self.message}"


class ConfigError(TypedError):
    """Every mistake in the configuration. Facts: problems."""

    exit_code = 78

    def __init__(self, *, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(problems=self.problems)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))
