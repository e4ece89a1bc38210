"""What a launcher needs of this machine before it is used: what is missing is told, with its mend.

Nothing of an engine is imported here: an agent, a process of its own, does that. What looks for
one is imported where a launcher needs it, which most do not.
"""

from typing import Final

from supervisor.config.settings import Settings
from supervisor.errors import ConfigError, Problem
from workers.records.dataclass import dataclass

INSTALL_DASK: Final = "pip install 'pipeline-supervisor[dask]'"
SLURM_PROGRAMS: Final = ("sbatch", "squeue", "scancel")


@dataclass(frozen=True, slots=True)
class Lack:
    """What a launcher lacks here, and what to do."""

    what: str
    mend: str


def missing_for(launcher: str) -> Lack | None:
    """What a launcher lacks here; None where it can be used."""
    if launcher == "dask":
        import importlib.util

        if importlib.util.find_spec("distributed") is None:
            return Lack("Dask is not installed beside this program", INSTALL_DASK)
    if launcher == "slurm":
        import shutil

        unfound = [name for name in SLURM_PROGRAMS if shutil.which(name) is None]
        if unfound:
            return Lack(
                f"{', '.join(unfound)} not found on the PATH",
                "install Slurm's commands on this host, or start the supervisor where they are",
            )
    return None


def check_engine(settings: Settings) -> None:
    """Refuse a launcher that cannot be used here, before anything is created.

    Raises:
        ConfigError: it cannot; the one problem says what to do.
    """
    lack = missing_for(settings.launcher)
    if lack is not None:
        why = f"{lack.what}; {lack.mend}"
        raise ConfigError(problems=[Problem(f'launcher = "{settings.launcher}"', "", why)])
