"""A root in order, and ways to break one record of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.root import Root

GOOD, BAD = "echo x", "echo y >&2; exit 1"
PIPELINES = f"""
[pipelines.good]
stages = [{{ id = "s", command = "{GOOD}" }}]
[pipelines.bad]
stages = [{{ id = "s", command = "{BAD}" }}]
"""


def of(root: Root, pipeline: str, name: str) -> Path:
    run_id = next(m["run_id"] for m in root.manifests() if m["pipeline_id"] == pipeline)
    return root.path / ".runs/default/cli" / str(run_id) / name


def change(path: Path, mend: Callable[[Any], object]) -> None:
    record = json.loads(path.read_text())
    mend(record)
    path.write_text(json.dumps(record))


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{old} is not in {path}"
    path.write_text(text.replace(old, new, 1))


def state(root: Root) -> Path:
    return root.path / "out/default/state.json"


def history(root: Root) -> Path:
    return root.path / "out/default/history.ndjson"


def metrics(root: Root) -> Path:
    return root.path / ".runs/default/metrics.json"


def append(path: Path, line: str) -> None:
    path.write_text(f"{path.read_text()}{line}\n")
