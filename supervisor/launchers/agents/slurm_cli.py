"""Running one of Slurm's commands, with a deadline."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from typing import Final

from supervisor.launchers.agents import slurm_format
from workers.processes.inherited import POPEN_FDS_COUNT, inherited_limits
from workers.records.dataclass import dataclass

# A client gives up by itself: after 10 s without a controller, after 50 s without munge.
COMMAND_S: Final = 60.0


class AwayError(Exception):
    """Slurm does not answer, or nobody can ask it; its words say why."""


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


def call(words: Sequence[str], text: str = "") -> Done:
    """Run one of Slurm's commands; AwayError where it does not end, or is not there."""
    try:
        with inherited_limits(POPEN_FDS_COUNT):  # sbatch gives the limits to the job
            done = subprocess.run(
                words,
                input=text,
                env=slurm_format.environment(os.environ),
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=COMMAND_S,
                check=False,
            )
    except subprocess.TimeoutExpired:
        raise AwayError(f"{words[0]} did not end within {COMMAND_S:g} s") from None
    except OSError as error:
        # "Permission denied" is said of a missing command, too, if PATH has a directory that we may
        # not search.
        if shutil.which(words[0]) is None:
            raise AwayError(f"{words[0]} is not installed here") from None
        raise AwayError(f"{words[0]}: {error.strerror}") from None
    return Done(done.returncode, done.stdout, slurm_format.cleaned(done.stderr))
