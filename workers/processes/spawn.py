"""Starting a stage's process, and telling apart why it could not be started."""

import errno
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from workers.processes.inherited import inherited_limits, low_fds
from workers.records.dataclass import dataclass

TRANSIENT: Final = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
"""What the system may no longer refuse in a moment: processes, memory, descriptors."""
SHELL: Final = ("/bin/sh", "-c")

# Python ignores these in itself; its children get them back.
PYTHON_IGNORES: Final = (signal.SIGPIPE, signal.SIGXFSZ)


@dataclass(frozen=True, slots=True)
class NotStarted:
    """Why a stage has no process.

    Attributes:
        reason: command-not-found, not-executable, bad-cwd, argument-list-too-long, spawn-failed.
        message: for people.
        transient: trying again may help.
    """

    reason: str
    message: str
    transient: bool = False


def argv_of(command: str | tuple[str, ...]) -> tuple[str, ...]:
    """The words of a command; a text goes to the shell."""
    return (*SHELL, command) if isinstance(command, str) else command


def spawn(
    argv: Sequence[str],
    *,
    cwd: str,
    env: Mapping[str, str],
    stdout_fd: int,
    stderr_fd: int,
    nice: int = 0,
) -> int | NotStarted:
    """Start a process that leads its own group, with stdin from /dev/null and fds 0, 1, 2 only.

    Every other descriptor of ours is closed by the exec, as Python makes them. The process has the
    umask and the limits that our caller had.

    Args:
        argv: the program, looked up in ``env``'s PATH, and its arguments.
        cwd: an absolute directory; ours for the moment of the start, then ours is ``/``: call it
            from one thread.
        env: its whole environment.
        stdout_fd: where its output goes.
        stderr_fd: where its errors go.
        nice: what is added to our niceness for it, 0 to 19.

    Returns:
        Its pid; it is our child to reap.
    """
    if not argv or not argv[0]:
        return NotStarted("command-not-found", "the command is empty")
    try:
        os.chdir(cwd)
    except (OSError, ValueError) as error:
        return NotStarted("bad-cwd", f"cwd {cwd!a}: {getattr(error, 'strerror', error)}")
    try:
        start = partial(_launch, argv, env, stdout_fd, stderr_fd)
        return _start_niced(nice, start) if nice else start()
    finally:
        os.chdir("/")


def _launch(
    argv: Sequence[str], env: Mapping[str, str], stdout_fd: int, stderr_fd: int
) -> int | NotStarted:
    try:
        program = _find(argv[0], env, os.X_OK)
        if program is None:
            return _missing(argv[0], env)
        with low_fds(stdout_fd, stderr_fd) as (out_fd, err_fd), inherited_limits():
            return os.posix_spawn(
                program,
                list(argv),
                env,
                file_actions=(
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, out_fd, 1),
                    (os.POSIX_SPAWN_DUP2, err_fd, 2),
                ),
                setpgroup=0,
                setsigmask=(),
                setsigdef=PYTHON_IGNORES,
            )
    except OSError as error:
        return _explain(error, argv[0], env)
    except ValueError as error:  # a NUL in an argument, or text that no system call takes
        return NotStarted("spawn-failed", f"{argv[0]!a}: {error}")


def _start_niced(increment: int, start: Callable[[], int | NotStarted]) -> int | NotStarted:
    """Start a process from a thread of a higher niceness, which the process inherits.

    Linux has a niceness per thread, so our own threads keep theirs.
    """
    results: list[int | NotStarted] = []

    def run() -> None:
        try:
            os.nice(increment)
        except OSError as error:  # a request may hold a negative number
            results.append(NotStarted("spawn-failed", f"nice {increment}: {error.strerror}"))
        else:
            results.append(start())

    thread = threading.Thread(target=run)
    try:
        thread.start()
    except RuntimeError as error:  # the system has no thread left
        return NotStarted("spawn-failed", str(error), transient=True)
    thread.join()
    return results[0]


def _missing(program: str, env: Mapping[str, str]) -> NotStarted:
    """Why a program that cannot be executed cannot: it is not there, or it may not be."""
    found = _find(program, env, os.F_OK)
    if found is None:
        return NotStarted("command-not-found", f"{program}: command not found")
    return NotStarted("not-executable", f"{found}: {os.strerror(errno.EACCES)}")


def _explain(error: OSError, program: str, env: Mapping[str, str]) -> NotStarted:
    if error.errno == errno.E2BIG:
        return NotStarted(
            "argument-list-too-long",
            f"{program}: the argument list and the environment are too long together",
        )
    if error.errno in (errno.ENOENT, errno.ENOTDIR):  # it was found, so something of it was not
        found = _find(program, env, os.F_OK) or program
        return NotStarted("not-executable", f"{found}: its interpreter does not exist")
    if error.errno in (errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.EISDIR):
        return NotStarted("not-executable", f"{program}: {error.strerror}")
    name = errno.errorcode.get(error.errno or 0, "error")
    message = f"{program}: {error.strerror} ({name})"
    return NotStarted("spawn-failed", message, transient=error.errno in TRANSIENT)


def _find(program: str, env: Mapping[str, str], access: int) -> str | None:
    """Where a program is, as execvp looks for it; None if none is there for ``access``.

    A name without a slash is looked for in the directories of PATH and nowhere else. Relative and
    empty entries of PATH are meant from the current directory, which is the stage's. A search
    through PATH passes over directories, as a shell's does.
    """
    if "/" in program:
        return program if os.access(program, access) else None
    # os.get_exec_path does as much, and costs a fault of memory for each module that it touches.
    for directory in env.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(directory or os.curdir, program)
        if os.access(path, access) and not os.path.isdir(path):
            return path
    return None
