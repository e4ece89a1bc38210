"""``python -m workers RUN_DIR [--owner-fd N | --claim N]``: run one run to its verdict.

Whoever starts it takes the run's owner lock before and passes the locked descriptor, so that the
run is owned without a gap; started by hand, it takes the lock itself. With ``--claim`` it is what
an engine has placed on this host as attempt N (``keeper``). Exit codes: 0 the verdict is in the
journal, 1 a bug (it has become the verdict), 2 usage, 65 a bad spec, 71 the system refuses what
every run needs and nothing has begun, 73 the verdict could not be written, 75 the run is being
worked on, was begun before, or was taken away from us.
"""

import os
import sys

from workers.entry.run_worker import BAD_USAGE, run_to_verdict
from workers.processes.inherited import init_process
from workers.records.layout import RunDir
from workers.stages.control import set_handlers

USAGE = "usage: python -m workers RUN_DIR [--owner-fd N | --claim N]"


def main(argv: list[str]) -> int:
    """Parse the words and work."""
    init_process()
    words = argv[1:]
    has_number = len(words) == 3 and words[2].isdecimal()
    if has_number and words[1] == "--claim":
        from workers.entry.keeper import run_keeper  # a worker of this host has no keeper

        return run_keeper(RunDir(os.path.realpath(words[0])), int(words[2]))
    is_passed = has_number and words[1] == "--owner-fd"
    if not is_passed and len(words) != 1:
        print(USAGE, file=sys.stderr)
        return BAD_USAGE
    set_handlers()
    return run_to_verdict(RunDir(os.path.realpath(words[0])), int(words[2]) if is_passed else None)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
