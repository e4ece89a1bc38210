"""Write the generated blocks of the pages in ``docs``: ``python -m docs.generate``.

A block begins with ``<!-- generated: NAME -->`` and ends with ``<!-- end -->``; the prose around it
is written by hand. ``tests/architecture/test_docs.py`` compares every block with the code.
"""

import importlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import click
from pydantic import BaseModel

from docs import lifecycle
from supervisor.config.json_schema import clean_schema
from supervisor.config.models import (
    BatchRun,
    ParamTable,
    Pipeline,
    Retries,
    SettingsTable,
    Stage,
)
from supervisor.config.settings import Settings

PAGES: Final = Path(__file__).parent
BLOCK: Final = re.compile(r"(<!-- generated: ([\w.' -]+) -->\n).*?(<!-- end -->\n)", re.DOTALL)
MODELS: Final[Mapping[str, type[BaseModel]]] = {
    "keys of a pipeline": Pipeline,
    "keys of a stage": Stage,
    "keys of retries": Retries,
    "keys of a parameter": ParamTable,
    "keys of a batch's run": BatchRun,
}


def table(*head: str, rows: Iterable[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [f"| {' | '.join(cells)} |\n" for cells in (head, *rows)]
    return "".join((lines[0], "|---" * len(head), "|\n", *lines[1:]))


def settings() -> str:
    """Every setting."""
    keys = clean_schema(SettingsTable.model_json_schema())["properties"]
    rows = []
    for name, field in Settings.__dataclass_fields__.items():
        default, about = _default(getattr(Settings(), name)), field.metadata
        effect = str(about["effect"])
        rows.append((f"`{name}`", default, _type(keys[name]), effect, about["description"]))
    return table("key", "default", "type", "a change takes effect", "meaning", rows=rows)


def keys_of(model: type[BaseModel]) -> str:
    """Every key of a table of a configuration file."""
    keys = clean_schema(model.model_json_schema())["properties"]
    rows = []
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = "required" if field.is_required() else "" if default is None else _default(default)
        rows.append((f"`{name}`", shown, _type(keys[name]), str(field.description)))
    return table("key", "default", "type", "meaning", rows=rows)


def options_of(verb: str) -> str:
    """Every option of a verb."""
    command: click.Command = importlib.import_module(f"supervisor.commands.{verb}").command
    rows = []
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            names = ", ".join(f"`{name}`" for name in option.opts)
            rows.append((f"{names}{_metavar(option)}", str(option.help)))
    return table("option", "meaning", rows=rows)


def block(name: str) -> str:
    """The content of a block; KeyError if there is none of that name."""
    if name == "settings":
        return settings()
    if name.startswith("options of "):
        return options_of(name.removeprefix("options of "))
    return keys_of(MODELS[name])


def generated(text: str) -> str:
    """A page with its blocks as they should be."""
    return BLOCK.sub(lambda found: found[1] + block(found[2]) + found[3], text)


def _default(value: object) -> str:
    return f"`{'none' if value is None else json.dumps(value)}`"


def _type(schema: dict[str, Any]) -> str:
    """The type of a value, with its range."""
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_type(choice) for choice in schema["anyOf"])
    kinds = schema.get("type", "object")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    names = {"boolean": "true or false", "array": "list", "object": "table"}
    kind = ", ".join(names.get(kind, kind) for kind in kinds)
    if "exclusiveMinimum" in schema:
        kind += f" above {schema['exclusiveMinimum']:,}"
    if "minimum" in schema:
        kind += f" from {schema['minimum']:,}"
    if "maximum" in schema:
        joint = ", at most" if "exclusiveMinimum" in schema else " to"
        kind += f"{joint} {schema['maximum']:,.0f}"
    return kind


def _metavar(option: click.Option) -> str:
    if option.is_flag:
        return ""
    if isinstance(option.type, click.Choice):
        return " " + ", ".join(f"`{choice}`" for choice in option.type.choices)
    return f" {option.metavar}" if option.metavar else ""


def main() -> None:
    """Write every page whose blocks differ, and the diagrams of ``docs.lifecycle``."""
    lifecycle.main()
    for path in sorted(PAGES.rglob("*.md")):
        text = path.read_text()
        if generated(text) != text:
            path.write_text(generated(text))
            print(f"wrote {path.relative_to(PAGES.parent)}")


if __name__ == "__main__":
    main()
