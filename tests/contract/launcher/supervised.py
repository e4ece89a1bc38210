"""The command line with an engine for tests in the place of Dask: ``supervised.py WORD...``.

TEST_AGENT names another file of this directory than the loopback engine's.
"""

import os
import sys
from pathlib import Path

from supervisor import wiring
from supervisor.__main__ import main
from supervisor.plan import engines

sys.path.insert(0, str(Path(__file__).parents[3]))
_AGENT = Path(__file__).parent / os.environ.get("TEST_AGENT", "loopback.py")
wiring.AGENTS["dask"] = (sys.executable, str(_AGENT))
engines.missing_for = lambda _: None  # Dask itself is not needed

if __name__ == "__main__":
    main()
