"""What a launcher needs on this host before it is used.

No engine is imported here: its agent, a process of its own, does that.
"""

from typing import Final

from supervisor.config.settings import Settings
from supervisor.errors import ConfigError, Problem

INSTALL_DASK: Final = "pip install 'pipeline-supervisor[dask]'"
SLURM_PROGRAMS: Final = ("sbatch", "squeue", "scancel")


def missing_for(launcher: str) -> tuple[str, str] | None:
    """What is missing for a launcher and how to fix it; None if it can be used."""
    if launcher == "dask":
        import importlib.util

        if importlib.util.find_spec("distributed") is None:
            return "Dask is not installed in this program's environment", INSTALL_DASK
    if launcher == "slurm":
        import shutil

        missing = [name for name in SLURM_PROGRAMS if shutil.which(name) is None]
        if missing:
            fix = "install Slurm's commands, or start the supervisor on a host that has them"
            return f"{', '.join(missing)} not found on PATH", fix
    return None


def check_launcher(settings: Settings) -> None:
    """Refuse a launcher that cannot be used here, before anything is created.

    Raises:
        ConfigError: something is missing; the message says how to fix it.
    """
    missing = missing_for(settings.launcher)
    if missing is not None:
        source = f'launcher = "{settings.launcher}"'
        raise ConfigError(problems=[Problem(source, "", "; ".join(missing))])
