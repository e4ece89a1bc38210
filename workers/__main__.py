"""``python -m workers RUN_DIR [--owner-fd N | --claim N]``: run one run to its verdict.

The parent takes the run's owner lock and passes the locked descriptor, so that the run is owned
without a gap; if started by hand, the worker takes the lock itself. An engine starts attempt N with
``--claim N`` (``keeper``).

Exit codes: 0 the verdict is in the journal, 1 a bug (it has become the verdict), 2 usage, 65 a bad
spec, 71 the system refuses what every run needs and nothing has begun, 73 the verdict could not be
written, 75 another process owns the run, it has begun before, or its claim was revoked.
"""

import os
import sys

from workers.entry.run_worker import BAD_USAGE, run_to_verdict
from workers.processes.inherited import init_process
from workers.records.layout import RunDir
from workers.stages.control import set_handlers

USAGE = "usage: python -m workers RUN_DIR [--owner-fd N | --claim N]"


def main(argv: list[str]) -> int:
    """Parse the arguments and run; returns the exit code."""
    init_process()
    arguments = argv[1:]
    has_number = len(arguments) == 3 and arguments[2].isdecimal()
    if has_number and arguments[1] == "--claim":
        from workers.entry.keeper import run_keeper  # a worker of this host has no keeper

        return run_keeper(RunDir(os.path.realpath(arguments[0])), int(arguments[2]))
    is_passed = has_number and arguments[1] == "--owner-fd"
    if not is_passed and len(arguments) != 1:
        print(USAGE, file=sys.stderr)
        return BAD_USAGE
    set_handlers()
    owner_fd = int(arguments[2]) if is_passed else None
    return run_to_verdict(RunDir(os.path.realpath(arguments[0])), owner_fd)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
