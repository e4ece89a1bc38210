"""The typed errors of the protocol; those of the supervisor derive from the same base.

Each has its facts as attributes and its exit status as a class attribute, says in its message what
to do next, and can be pickled.
"""

from typing import ClassVar


class TypedError(Exception):
    """Base of every error that this project raises on purpose.

    Args:
        **facts: each becomes an attribute.
    """

    exit_code: ClassVar[int] = 1
    template: ClassVar[str] = "internal error"

    def __init__(self, **facts: object) -> None:
        super().__init__()
        self.facts = facts
        for name, value in facts.items():
            setattr(self, name, value)

    def __str__(self) -> str:
        return self.template.format(**self.facts)

    def __reduce__(self) -> tuple[object, tuple[type["TypedError"], dict[str, object]]]:
        return _rebuild, (type(self), self.facts)


def _rebuild(kind: type[TypedError], facts: dict[str, object]) -> TypedError:
    return kind(**facts)


class BadIdError(TypedError):
    """An id that may not become a file name. Facts: kind, value, reason."""

    exit_code = 2
    template = (
        "{kind} id {value!r} {reason}: use up to 100 of the characters A-Z a-z 0-9 . _ -, "
        "beginning with a letter or a digit"
    )


class BadRecordError(TypedError):
    """A file that is not a record of this protocol. Facts: path, reason."""

    exit_code = 65
    template = "{path}: not a valid record: {reason}"


class NewerRecordError(BadRecordError):
    """A record of a later version of this project. Facts: path, reason.

    It is not damaged: it is listed as newer and never rewritten.
    """


class BadFileError(TypedError):
    """Something other than a plain file is in the place of a record. Facts: path, reason."""

    exit_code = 73
    template = "{path}: {reason}; move it away and try again"


class RequestTooLargeError(TypedError):
    """A request that is too large to be read. Facts: bytes, limit."""

    exit_code = 2
    template = "the request has {bytes} bytes, more than {limit}: submit fewer runs at once"


class CannotBeginError(TypedError):
    """The system refuses what every run needs; nothing of the run has started. Facts: reason."""

    exit_code = 71  # EX_OSERR of sysexits.h
    template = "the run cannot begin: {reason}"


class OwnedError(TypedError):
    """A run already has a living worker. Facts: run_dir."""

    exit_code = 75
    template = "{run_dir}: another process holds this run's .owner lock; it is being worked on"


class LockingBrokenError(TypedError):
    """flock(2) does not exclude on this file system. Facts: path, reason."""

    exit_code = 73
    template = "locking does not work on {path} ({reason}); put the root on a local file system"
