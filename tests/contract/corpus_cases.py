"""The corpus of invalid configurations: its index, and a case laid out as a project.

``case.lay_out(folder)`` creates a root with one mistake, ``case.environ`` and
``case.arguments(root)`` are for the command line, and ``case.check`` compares the message with the
index.
"""

import os
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
GOOD = '[pipelines.good]\n[[pipelines.good.stages]]\nid = "s"\ncommand = "true"\n'
PLACES = {
    "config": "config/supervisor.toml",
    "batch": "config/batches/bad.toml",
    "origin": "codex.orchestrator.json",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One mistake; the head of index.toml explains the keys."""

    file: str
    kind: str
    where: str
    expect: str
    rows: tuple[str, ...]
    also: tuple[str, ...] = ()
    never: str | None = None
    make: str | None = None
    pending: str | None = None
    environ: Mapping[str, str] = field(default_factory=dict)

    def path(self, root: Path) -> Path:
        """The file with the mistake; for a variable, the valid project file."""
        return root / PLACES.get(self.kind, PLACES["config"])

    def lay_out(self, root: Path) -> None:
        """Write a project that is valid except for this mistake."""
        if self.kind in ("batch", "environment"):
            good = root / PLACES["config"]
            good.parent.mkdir(parents=True)
            good.write_text(GOOD)
        path = self.path(root)
        path.parent.mkdir(parents=True, exist_ok=True)
        match self.make:
            case "fifo":
                os.mkfifo(path)
            case "directory":
                path.mkdir()
            case "too-large":
                path.write_text("# " + "x" * (1024 * 1024) + "\n" + GOOD)
            case "sparse":
                path.touch()
                os.truncate(path, 1 << 30)
            case "device":
                path.symlink_to("/dev/zero")
            case None if self.kind != "environment":
                shutil.copyfile(CORPUS / self.file, path)

    def arguments(self, root: Path) -> list[str]:
        """The arguments that a command needs in addition to ``--root``."""
        return ["--batch", str(self.path(root))] if self.kind == "batch" else []

    def check(self, message: str, root: Path) -> None:
        """Compare an error's message with the index."""
        variable = self.kind == "environment"
        named = self.where if variable else str(self.path(root))
        for part in (named, self.where, self.expect, *self.also):
            assert part in message, f"{part!r} is not in:\n{message}"
        assert self.never is None or self.never not in message, f"a secret is in:\n{message}"
        assert "Traceback" not in message
        assert "pydantic" not in message


def _case(item: dict[str, object]) -> Case:
    known = {**item, "kind": item["as"], "environ": item.get("env", {})}
    for key in ("also", "rows"):
        known[key] = tuple(known.get(key, ()))  # type: ignore[arg-type]
    return Case(**{key: known[key] for key in Case.__dataclass_fields__ if key in known})  # type: ignore[arg-type]


CASES = tuple(_case(item) for item in tomllib.loads((CORPUS / "index.toml").read_text())["cases"])
