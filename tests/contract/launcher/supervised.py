"""The command line with the loopback engine in the place of Dask: ``supervised.py WORD...``."""

import sys
from pathlib import Path

from supervisor import wiring
from supervisor.__main__ import main

sys.path.insert(0, str(Path(__file__).parents[3]))
wiring.AGENTS["dask"] = (sys.executable, str(Path(__file__).parent / "loopback.py"))

if __name__ == "__main__":
    main()
