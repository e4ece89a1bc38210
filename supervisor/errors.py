"""The supervisor's typed errors: each says what to do next and carries its exit code.

Exit codes are the contract's (section 4): 2 usage, 4 unknown run, 73 cannot write, 75 another
supervisor, 78 configuration.
"""

from collections.abc import Iterable
from typing import Any

from workers.records.dataclass import dataclass
from workers.records.typed_errors import TypedError


class UsageError(TypedError):
    """The command line asks for something that does not exist. Facts: why."""

    exit_code = 2
    template = "{why}"


class UnknownRunError(TypedError):
    """No run of this root is called so. Facts: run."""

    exit_code = 4
    template = "no run is called {run!r}; 'supervisor status' lists the newest"


class UnknownTaskError(TypedError):
    """No task of this root with runs is called so. Facts: why."""

    exit_code = 4
    template = "{why}"


class RunRemovedError(TypedError):
    """The run's directory is no more. Facts: run, task, status, ended, line (of the history)."""

    line: dict[str, Any]
    exit_code = 4
    template = (
        "run {run} of task {task} ended at {ended} ({status}); its directory was removed by "
        "retention or by hand: 'supervisor status {run}' and 'show' tell what the history has of it"
    )


class AmbiguousRunError(TypedError):
    """Several runs begin so. Facts: run, candidates (text)."""

    exit_code = 2
    template = "{run!r} could be any of these, give more of the id:\n{candidates}"


class LeaseHeldError(TypedError):
    """Another supervisor serves the root. Facts: root, pid, since."""

    exit_code = 75
    template = (
        "another supervisor (pid {pid}, since {since}) serves {root}; "
        "hand it work with 'supervisor submit', or end it with 'supervisor stop'"
    )


class CannotWriteError(TypedError):
    """The root cannot be written. Facts: path, why."""

    exit_code = 73
    template = "cannot write below {path}: {why}"


class ForeignRootError(TypedError):
    """A root or its records belong to another user. Facts: path, owner, fix."""

    exit_code = 73
    template = "{path} belongs to {owner}; {fix}"


class NoCurrentDirectoryError(TypedError):
    """A relative path, or none, was given in a directory that was deleted. Facts: why."""

    exit_code = 2
    template = (
        "the current directory does not exist any more ({why}); "
        "change to another one, or give --root and every file as absolute paths"
    )


class RootTooLongError(TypedError):
    """A root whose path leaves no room for those of its records. Facts: root, bytes, limit."""

    exit_code = 73
    template = (
        "{root}: the path of this root has {bytes} bytes, and at most {limit} leave room for the "
        "paths of records below it; choose a shorter one"
    )


class RootGoneError(TypedError):
    """The directory of all runs vanished while it was served. Facts: path."""

    exit_code = 73
    template = (
        "{path} was deleted or renamed while it was served: what ran was ended, and nothing more "
        "could be put on record there; put it back and start again"
    )


class TaskStateStoreLockError(TypedError):
    """The lock of a task's state is held. Facts: task_id, lock_path, attempts, waited_s."""

    exit_code = 75
    template = (
        "task {task_id}: {lock_path} is held by another process "
        "(attempts: {attempts}, waited: {waited_s} s); the snapshot is owed"
    )


class HelperError(TypedError):
    """No supervisor could be started for a waiting run. Facts: code, path."""

    exit_code = 1
    template = (
        "the temporary supervisor of this run ends at once (exit status {code}); "
        "{path} says why. The run is accepted and stays queued"
    )


class SetAsideError(TypedError):
    """The supervisor would not take our request. Facts: path, log."""

    exit_code = 73
    template = "the request for this run was set aside as {path}; {log} says why"


class IllegalMoveError(TypedError):
    """A bug: the table holds no such move. Facts: run_id, state, stimulus, story."""

    exit_code = 1
    template = "run {run_id} is {state} and cannot {stimulus}; its story: {story}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in what a human wrote.

    Attributes:
        source: the file, or the environment variable's name.
        key_path: where in it, "" for the whole.
        message: what is wrong, and the mend.
    """

    source: str
    key_path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.source}: {self.key_path}" if self.key_path else self.source
        return f"{where}: {self.message}"


class ConfigError(TypedError):
    """Everything that is wrong in the configuration, at once. Facts: problems."""

    exit_code = 78

    def __init__(self, *, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(problems=self.problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)
