"""What is said to Slurm's commands, and what their answers mean. Nothing is run here.

Measured with Slurm 22.05. A job carries the key of its attempt as its name, so what an earlier
agent handed in is found again. Options come before the operator's own (``slurm_options``), which
therefore win.
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

SLOT: Final = "slot"  # of our own counting elsewhere; here the CPUs of the cluster are the slots
_WHY_LIMIT_CHARS: Final = 500

# Variables that would filter our listings, make sbatch wait for the job, or ask a person.
_DROPPED: Final = ("SQUEUE_", "SCANCEL_", "SBATCH_WAIT", "SBATCH_ARRAY_INX")

# States that a job does not leave (man squeue, JOB STATE CODES).
ENDED_STATES: Final = frozenset(
    (
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
    )
)
# Why a job waits that only has to wait (man squeue, JOB REASON CODES).
_ORDINARY_REASONS: Final = frozenset(("None", "Priority", "Resources", "BeginTime", "Cleaning"))

# slurm_errno.c: it does not answer, or cannot prove who it is; whoever asks later may succeed.
_AWAY_WORDS: Final = (
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
# It answers, and may take the same job later.
_LATER_WORDS: Final = (
    "Job violates accounting/QOS policy",
    "Reached maximum number of jobs",
    "Required node not available",
    "configuration not available now",
    "temporarily",
    "try again later",
    "Job submit limit",
)


class Refusal(StrEnum):
    """What a failed submission means."""

    AWAY = "away"  # Slurm does not answer; the job may be in all the same
    LATER = "later"  # it is not taken now
    NEVER = "never"  # it is not taken as it is


@dataclass(frozen=True, slots=True)
class Job:
    """One line of the listing.

    Attributes:
        id: Slurm's number of it.
        state: a word of Slurm's.
        reason: why it is in that state, "None" where Slurm says nothing.
    """

    id: str
    state: str
    reason: str

    @property
    def has_ended(self) -> bool:
        """Nothing of it is at work, and nothing will be."""
        return self.state in ENDED_STATES

    @property
    def held_back_by(self) -> str | None:
        """Why it does not start, where that is not just that others are before it."""
        if self.state != "PENDING" or self.reason in _ORDINARY_REASONS:
            return None
        return self.reason

    @property
    def words(self) -> str:
        """For people."""
        return self.state if self.reason == "None" else f"{self.state} ({self.reason})"


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of Slurm's commands: ours, without what would change what they mean."""
    return {name: value for name, value in environ.items() if not name.startswith(_DROPPED)}


def log_of(order: Place) -> str:
    """Where a job's own output goes: what Slurm and a worker that cannot begin have to say."""
    return f"{order.run_dir}/slurm.{order.attempt}.log"


def script(order: Place, python: str) -> str:
    """The batch script: our worker program takes its place, so a signal to it reaches the keeper.

    Args:
        order: the attempt.
        python: the interpreter, by its path on the hosts.
    """
    words = [python, "-I", "-m", "workers", order.run_dir, "--claim", str(order.attempt)]
    # --export=NONE leaves SLURM_EXPORT_ENV behind, which would empty what a stage's srun starts.
    return f"#!/bin/sh\nunset SLURM_EXPORT_ENV\nexec {shlex.join(words)}\n"


def submit(order: Place, options: Sequence[str]) -> list[str]:
    """The command that hands an attempt in; its script is read from stdin.

    ``--export=NONE``: stages get the environment that the user has on the host, and nothing of the
    supervisor's, secrets least of all, is kept in Slurm's spool.

    Args:
        order: the attempt.
        options: the operator's own.
    """
    words = ["sbatch", "--parsable", "--no-requeue", "--export=NONE", "--chdir=/"]
    words += [f"--job-name={order.key}", "--open-mode=append"]
    words += [f"--output={log_of(order).replace('%', '%%')}"]
    words += ["--nodes=1", "--ntasks=1"]
    others = []
    for name, amount in order.resources.items():
        whole = math.ceil(amount)
        match name:
            case "cpus":
                words.append(f"--cpus-per-task={whole}")
            case "memory_mb":
                words.append(f"--mem={whole}M")
            case _ if name != SLOT:
                others.append(f"{name}:{whole}")
    if others:
        words.append(f"--gres={','.join(others)}")
    return [*words, *options]


def listing() -> list[str]:
    """The command that lists every job of this user, ended ones too, in one call."""
    words = ["squeue", "--noheader", f"--user={os.getuid()}", "--states=all"]
    return [*words, "--format=%i|%T|%r|%j"]


def parse_listing(text: str) -> dict[str, Job]:
    """The jobs by name; of several with one name that which has not ended, else the last."""
    found: dict[str, Job] = {}
    for line in text.splitlines():
        parts = line.split("|", 3)
        if len(parts) != 4:
            continue  # a name of somebody else's with a line break
        job, name = Job(*(part.strip() for part in parts[:3])), parts[3].strip()
        if name not in found or found[name].has_ended:
            found[name] = job
    return found


def parse_submitted(text: str) -> str | None:
    """The number of the job that --parsable prints in a line, whatever a site prints beside it."""
    found = re.findall(r"^(\d+)(?:;.*)?$", text, flags=re.MULTILINE)
    return found[-1] if found else None


def refusal_of(words: str) -> Refusal:
    """What the words mean with which a submission failed."""
    if any(known in words for known in _AWAY_WORDS):
        return Refusal.AWAY
    if any(known in words for known in _LATER_WORDS):
        return Refusal.LATER
    return Refusal.NEVER


def cleaned(stderr: str) -> str:
    """The words of a failed command in one line, each once, the last ones where there are many."""
    lines: dict[str, None] = {}
    for line in stderr.splitlines():
        lines[re.sub(r"^(\w+: )?(error: |fatal: )?", "", line).strip()] = None
    return "; ".join(filter(None, lines))[-_WHY_LIMIT_CHARS:]
