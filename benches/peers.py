"""The peers: find them, and install them with ``python -m benches peers``.

Packages of PyPI and npm go to a directory outside the checkout: ``BENCH_PEERS``, else
``pipeline-supervisor-benches`` in the user's cache. GNU parallel and task-spooler come from the
system.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from benches.row import Missing

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
NPM = ("pm2@7.0.4", "@kbediako/codex-orchestrator@0.2.1")
APT = {"parallel": "parallel", "tsp": "task-spooler"}
TITLES = {
    "parallel": "GNU parallel",
    "tsp": "task-spooler",
    "supervisord": "supervisord",
    "supervisorctl": "supervisord",
    "circusd": "circus",
    "pm2": "pm2",
    "codex-orchestrator": "the origin",
    "python": "matplotlib",
}


def home() -> Path:
    """The directory of installed peers."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    return Path(os.environ.get("BENCH_PEERS") or f"{cache}/pipeline-supervisor-benches")


def find(name: str) -> Path:
    """The path of a peer's program.

    Raises:
        Missing: it is not installed; the text names the peer.
    """
    for place in (home() / "venv/bin", home() / "npm/node_modules/.bin"):
        if os.access(place / name, os.X_OK):
            return place / name
    found = shutil.which(name) if name in APT else None
    if found is None:
        raise Missing(f"{TITLES.get(name, name)} is not installed")
    return Path(found)


def install() -> list[str]:
    """Install the peers.

    Returns:
        A message for each that could not be installed.
    """
    pip = [str(home() / "venv/bin/python"), "-m", "pip", "install", "--quiet"]
    npm = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix"]
    steps = {
        "a venv": [sys.executable, "-m", "venv", str(home() / "venv")],
        "supervisord, circus, matplotlib": [*pip, "--requirement", str(REQUIREMENTS)],
        "pm2, the origin": [*npm, str(home() / "npm"), *NPM],
    }
    absent = [package for name, package in APT.items() if shutil.which(name) is None]
    if absent:
        steps[" and ".join(absent)] = ["apt-get", "install", "--yes", "--quiet", *absent]
    home().mkdir(parents=True, exist_ok=True)
    failed = []
    for what, argv in steps.items():
        try:
            subprocess.run(argv, check=True, stdout=sys.stderr)
        except (OSError, subprocess.CalledProcessError) as error:
            failed.append(f"{what}: {error}")
    return failed
