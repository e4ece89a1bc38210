"""The command line with an engine for tests in the place of Dask: ``supervised.py WORD...``.

TEST_AGENT names another file of this directory than the loopback engine's.
"""

import os
import sys
from pathlib import Path

from supervisor.__main__ import main
from supervisor.config import launcher_check
from supervisor.daemon import build

sys.path.insert(0, str(Path(__file__).parents[3]))
_AGENT = Path(__file__).parent / os.environ.get("TEST_AGENT", "loopback.py")
build.AGENTS["dask"] = (sys.executable, str(_AGENT))
launcher_check.missing_for = lambda _: None  # Dask itself is not needed

if __name__ == "__main__":
    main()
