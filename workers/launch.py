"""Starting a stage's process, and telling apart why it could not be started."""

import errno
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from workers.records.spec import StageSpec

SHELL: Final = ("/bin/sh", "-c")


@dataclass(frozen=True, slots=True)
class NotStarted:
    """Why a stage has no process.

    Attributes:
        reason: command-not-found, not-executable, bad-cwd, argument-list-too-long, spawn-failed.
        message: for people.
    """

    reason: str
    message: str


def argv_of(stage: StageSpec) -> tuple[str, ...]:
    """The words of a stage's command; a text goes to the shell."""
    if isinstance(stage.command, str):
        return (*SHELL, stage.command)
    return stage.command or ()


def launch(
    argv: Sequence[str],
    *,
    cwd: str,
    env: Mapping[str, str],
    stdout_fd: int,
    stderr_fd: int,
) -> "subprocess.Popen[bytes] | NotStarted":
    """Start a process that leads its own group, with stdin from /dev/null and fds 0, 1, 2 only.

    Args:
        argv: the program, looked up in ``env``'s PATH, and its arguments.
        cwd: an absolute directory.
        env: its whole environment.
        stdout_fd: where its output goes.
        stderr_fd: where its errors go.
    """
    if not argv or not argv[0]:
        return NotStarted("command-not-found", "the command is empty")
    try:
        return subprocess.Popen(
            argv,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=stdout_fd,
            stderr=stderr_fd,
            process_group=0,
            close_fds=True,
            restore_signals=True,
        )
    except OSError as error:
        return _explain(error, argv[0], cwd, env)
    except ValueError as error:  # a NUL in an argument, or text that no system call takes
        return NotStarted("spawn-failed", f"{argv[0]!a}: {error}")


def _explain(error: OSError, program: str, cwd: str, env: Mapping[str, str]) -> NotStarted:
    if error.errno == errno.E2BIG:
        return NotStarted(
            "argument-list-too-long",
            f"{program}: the argument list and the environment are too long together",
        )
    if error.filename == cwd:
        return NotStarted("bad-cwd", f"cwd {cwd}: {error.strerror}")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        found = _find(program, cwd, env)
        if found is None:
            return NotStarted("command-not-found", f"{program}: command not found")
        return NotStarted("not-executable", f"{found}: its interpreter does not exist")
    if error.errno in (errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.EISDIR):
        return NotStarted("not-executable", f"{program}: {error.strerror}")
    name = errno.errorcode.get(error.errno or 0, "error")
    return NotStarted("spawn-failed", f"{program}: {error.strerror} ({name})")


def _find(program: str, cwd: str, env: Mapping[str, str]) -> str | None:
    """Where a program stands that the system could not start."""
    if "/" in program:
        places = [program]
    else:
        places = [os.path.join(directory, program) for directory in os.get_exec_path(env)]
    return next((p for p in places if os.path.exists(os.path.join(cwd, p))), None)
