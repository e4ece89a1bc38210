"""``python -m benches.pictures RECORD DIRECTORY``: draw the pictures of performance.md.

``python -m benches report`` runs it with the interpreter that has matplotlib. The same record gives
the same bytes.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PICTURES = {
    "cost": ("runs of `true`, fifty at once", "CPU per run, ms", True),
    "memory": ("live runs", "memory (PSS) per live run, MB", True),
    "history": ("finished runs in the history", "wall time, ms", False),
}
STYLE = {
    "svg.hashsalt": "pipeline-supervisor",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
OURS = ("ours", "a start", "a start and one run")


def draw(points: Sequence[dict[str, Any]], directory: Path) -> None:
    """Write one SVG for each picture that has points."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update(STYLE)
    from matplotlib import pyplot

    for name, (x_label, y_label, is_log) in PICTURES.items():
        mine = [p for p in points if p["picture"] == name]
        if not mine:
            continue
        figure, axes = pyplot.subplots(figsize=(6.4, 3.6), layout="constrained")
        for side in dict.fromkeys(p["side"] for p in mine):
            line = [p for p in mine if p["side"] == side]
            x, y = [p["x"] for p in line], [p["y"] for p in line]
            errors = [[p["y"] - p["low"] for p in line], [p["high"] - p["y"] for p in line]]
            width = 2.2 if side in OURS else 1.1
            axes.errorbar(x, y, errors, label=side, marker="o", markersize=3, linewidth=width)
        axes.set_xscale("log")
        if is_log:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.grid(visible=True, linewidth=0.3)
        axes.legend(frameon=False, fontsize=8)
        figure.savefig(directory / f"performance-{name}.svg", metadata={"Date": None})
        pyplot.close(figure)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text())["points"], Path(sys.argv[2]))
