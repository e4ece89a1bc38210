"""The command ``supervisor``, also as ``python -m supervisor``."""

import gc
import sys
from typing import Final

from pipeline_supervisor import isolate
from supervisor.version import VERSION

# What is imported and read is no garbage, and looking through it for cycles at every 700 objects
# is 3 to 5 % of a start, of a status, and of a supervisor's thousand runs.
_NEW_OBJECTS_COUNT: Final = 50_000


def main() -> None:
    """Run the command line of this package, whatever the caller's Python is."""
    isolate()
    run()


def run() -> None:
    """Run the command line; what scripts ask most often needs nothing of it."""
    gc.set_threshold(_NEW_OBJECTS_COUNT)
    if sys.argv[1:] == ["--version"]:
        print(f"supervisor, version {VERSION}")
        return
    from workers.processes.inherited import init_process

    init_process()
    from supervisor.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
