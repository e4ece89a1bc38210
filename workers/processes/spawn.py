"""Starting a stage's process, and the reasons why it could not be started."""

import _thread
import errno
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from workers.processes.inherited import inherited_limits, low_fds
from workers.records.dataclass import dataclass

TRANSIENT: Final = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
"""Refusals that may be over in a moment: processes, memory, descriptors."""
SHELL: Final = ("/bin/sh", "-c")

# Python ignores these signals; its children get the default back.
PYTHON_IGNORES: Final = (signal.SIGPIPE, signal.SIGXFSZ)


@dataclass(frozen=True, slots=True)
class NotStarted:
    """Why a stage has no process.

    Attributes:
        reason: command-not-found, not-executable, bad-cwd, argument-list-too-long, spawn-failed.
        message: for people.
        transient: another try may succeed.
    """

    reason: str
    message: str
    transient: bool = False


def argv_of(command: str | tuple[str, ...]) -> tuple[str, ...]:
    """The argv of a command; text goes to the shell."""
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

    The exec closes every other descriptor of ours, as Python creates them. The process has the
    umask and the limits of our caller.

    Args:
        argv: the program, searched in ``env``'s PATH, and its arguments.
        cwd: an absolute directory. It is this process's during the call, which then changes to
            ``/``: call it from one thread.
        env: its whole environment.
        stdout_fd: its standard output.
        stderr_fd: its standard error.
        nice: added to our niceness, 0 to 19.

    Returns:
        The pid of our new child.
    """
    if not argv or not argv[0]:
        return NotStarted("command-not-found", "the command is empty")
    try:
        os.chdir(cwd)
    except (OSError, ValueError) as error:
        return NotStarted("bad-cwd", f"cwd {cwd!a}: {getattr(error, 'strerror', error)}")
    try:
        start = partial(_spawn, argv, env, stdout_fd, stderr_fd)
        return _start_niced(nice, start) if nice else start()
    finally:
        os.chdir("/")


def _spawn(
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
    except ValueError as error:  # a NUL in an argument, or text that no system call accepts
        return NotStarted("spawn-failed", f"{argv[0]!a}: {error}")


def _start_niced(increment: int, start: Callable[[], int | NotStarted]) -> int | NotStarted:
    """Start a process from a thread of a higher niceness, which the process inherits.

    Linux has a niceness per thread, so our other threads keep theirs.
    """
    results: list[int | NotStarted] = []
    done = _thread.allocate_lock()

    def run() -> None:
        try:
            os.nice(increment)
            results.append(start())
        except OSError as error:  # a request may contain a negative number
            results.append(NotStarted("spawn-failed", f"nice {increment}: {error.strerror}"))
        finally:
            done.release()

    done.acquire()
    try:
        _thread.start_new_thread(run, ())
    except RuntimeError as error:  # the system has no thread left
        return NotStarted("spawn-failed", str(error), transient=True)
    done.acquire()
    return results[0]


def _missing(program: str, env: Mapping[str, str]) -> NotStarted:
    """A program that is not executable: it does not exist, or its mode forbids it."""
    path = _find(program, env, os.F_OK)
    if path is None:
        return NotStarted("command-not-found", f"{program}: command not found")
    return NotStarted("not-executable", f"{path}: {os.strerror(errno.EACCES)}")


def _explain(error: OSError, program: str, env: Mapping[str, str]) -> NotStarted:
    if error.errno == errno.E2BIG:
        return NotStarted(
            "argument-list-too-long",
            f"{program}: the argument list and the environment are too long together",
        )
    if error.errno in (errno.ENOENT, errno.ENOTDIR):  # the program exists, so it needs another
        path = _find(program, env, os.F_OK) or program
        return NotStarted("not-executable", f"{path}: its interpreter does not exist")
    if error.errno in (errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.EISDIR):
        return NotStarted("not-executable", f"{program}: {error.strerror}")
    name = errno.errorcode.get(error.errno or 0, "error")
    message = f"{program}: {error.strerror} ({name})"
    return NotStarted("spawn-failed", message, transient=error.errno in TRANSIENT)


def _find(program: str, env: Mapping[str, str], access: int) -> str | None:
    """The path of a program, as execvp finds it; None if there is none with this ``access``.

    A name without a slash is searched in the directories of PATH only. Relative and empty entries
    of PATH are relative to the current directory, which is the stage's. Directories are skipped, as
    a shell does.
    """
    if "/" in program:
        return program if os.access(program, access) else None
    # os.get_exec_path does the same, but imports modules, which touches memory in every worker.
    for directory in env.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(directory or os.curdir, program)
        if os.access(path, access) and not os.path.isdir(path):
            return path
    return None
