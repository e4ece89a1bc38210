"""The command lines of Slurm's commands, and the meaning of their output. Nothing is run here.

Measured with Slurm 22.05. A job's name is the key of its attempt, so jobs of an earlier agent are
found again. Our options come before the operator's (``slurm_options``), which therefore override
them.
"""

import math
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

from supervisor.launchers.agents.protocol import Place
from workers.records.dataclass import dataclass

SLOT: Final = "slot"  # no resource of Slurm's: the CPUs of the cluster limit its jobs
_REASON_LIMIT_CHARS: Final = 500

# Variables that would filter our listings, make sbatch wait for the job, or prompt.
_DROPPED: Final = ("SQUEUE_", "SCANCEL_", "SBATCH_WAIT", "SBATCH_ARRAY_INX")

# Final states of a job (man squeue, JOB STATE CODES).
ENDED_STATES: Final = frozenset(
    [
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "REVOKED",
        "TIMEOUT",
    ]
)
# Reasons of a job that will start by itself (man squeue, JOB REASON CODES).
_ORDINARY_REASONS: Final = frozenset(("None", "Priority", "Resources", "BeginTime", "Cleaning"))

# slurm_errno.c: Slurm does not answer or authentication failed; a later try may succeed.
_AWAY_TEXTS: Final = (
    "Unable to contact slurm controller",
    "Socket timed out",
    "Zero Bytes were transmitted",
    "Connection refused",
    "Connection reset",
    "Connection timed out",
    "Slurm backup controller in standby",
    "Slurm temporarily unable to accept job",
    "Transport endpoint",
    "Protocol authentication error",
    "Invalid authentication credential",
    "Unable to contact slurmdbd",
    "Munge encode failed",
    "Unexpected message received",
    "Resource temporarily unavailable",
    "Could not establish a configuration source",
)
# Slurm may take the same job later.
_LATER_TEXTS: Final = (
    "Job violates accounting/QOS policy",
    "Reached maximum number of jobs",
    "Required node not available",
    "configuration not available now",
    "temporarily",
    "try again later",
    "Job submit limit",
)


class Refusal(StrEnum):
    """The meaning of a failed submission."""

    AWAY = "away"  # Slurm does not answer, and may have taken the job
    LATER = "later"  # not taken now
    NEVER = "never"  # not taken as it is


@dataclass(frozen=True, slots=True)
class Job:
    """One line of the listing.

    Attributes:
        id: Slurm's number of the job.
        state: Slurm's name of its state.
        reason: why it is in that state, "None" if Slurm gives no reason.
    """

    id: str
    state: str
    reason: str

    @property
    def has_ended(self) -> bool:
        """The state is final."""
        return self.state in ENDED_STATES

    @property
    def hold_reason(self) -> str | None:
        """Why it does not start, unless it just waits its turn."""
        if self.state != "PENDING" or self.reason in _ORDINARY_REASONS:
            return None
        return self.reason

    @property
    def text(self) -> str:
        """State and reason, for messages."""
        return self.state if self.reason == "None" else f"{self.state} ({self.reason})"


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of Slurm's commands: ours, without variables that change their meaning."""
    return {name: value for name, value in environ.items() if not name.startswith(_DROPPED)}


def log_of(order: Place) -> str:
    """The file for a job's own output: of Slurm, and of a worker that cannot begin."""
    return f"{order.run_dir}/slurm.{order.attempt}.log"


def script(order: Place, python: str) -> str:
    """The batch script: it execs our worker program, so a signal to it reaches the keeper."""
    argv = [python, "-I", "-m", "workers", order.run_dir, "--claim", str(order.attempt)]
    # --export=NONE sets SLURM_EXPORT_ENV, which would empty the environment of a stage's srun.
    return f"#!/bin/sh\nunset SLURM_EXPORT_ENV\nexec {shlex.join(argv)}\n"


def submit(order: Place, options: Sequence[str]) -> list[str]:
    """The command that submits an attempt; its script is read from stdin.

    ``--export=NONE``: stages get the user's environment on the host, and Slurm's spool keeps
    nothing of the supervisor's environment, such as secrets.
    """
    argv = ["sbatch", "--parsable", "--no-requeue", "--export=NONE", "--chdir=/"]
    argv += [f"--job-name={order.key}", "--open-mode=append"]
    argv += [f"--output={log_of(order).replace('%', '%%')}"]
    argv += ["--nodes=1", "--ntasks=1"]
    others = []
    for name, amount in order.resources.items():
        whole = math.ceil(amount)
        match name:
            case "cpus":
                argv.append(f"--cpus-per-task={whole}")
            case "memory_mb":
                argv.append(f"--mem={whole}M")
            case _ if name != SLOT:
                others.append(f"{name}:{whole}")
    if others:
        argv.append(f"--gres={','.join(others)}")
    return [*argv, *options]


def listing() -> list[str]:
    """The command that lists every job of this user, ended ones too."""
    user = f"--user={os.getuid()}"
    return ["squeue", "--noheader", user, "--states=all", "--format=%i|%T|%r|%j"]


def parse_listing(text: str) -> dict[str, Job]:
    """The jobs by name; of several with one name the one that has not ended, else the last."""
    jobs: dict[str, Job] = {}
    for line in text.splitlines():
        parts = line.split("|", 3)
        if len(parts) != 4:
            continue  # a foreign job name with a line break
        job, name = Job(*(part.strip() for part in parts[:3])), parts[3].strip()
        if name not in jobs or jobs[name].has_ended:
            jobs[name] = job
    return jobs


def parse_submitted(text: str) -> str | None:
    """The job number that --parsable prints in a line of its own, whatever else a site prints."""
    numbers = re.findall(r"^(\d+)(?:;.*)?$", text, flags=re.MULTILINE)
    return numbers[-1] if numbers else None


def refusal_of(error: str) -> Refusal:
    """The meaning of a failed submission's error message."""
    if any(known in error for known in _AWAY_TEXTS):
        return Refusal.AWAY
    if any(known in error for known in _LATER_TEXTS):
        return Refusal.LATER
    return Refusal.NEVER


def cleaned(stderr: str) -> str:
    """A failed command's messages in one line, each once, the last ones if they are long."""
    lines: dict[str, None] = {}
    for line in stderr.splitlines():
        lines[re.sub(r"^(\w+: )?(error: |fatal: )?", "", line).strip()] = None
    return "; ".join(filter(None, lines))[-_REASON_LIMIT_CHARS:]
