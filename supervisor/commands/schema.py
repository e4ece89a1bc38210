"""``supervisor schema``."""

import json
import sys
from collections.abc import Mapping
from typing import Final

import click

from supervisor.config.suggest import unknown_name
from supervisor.errors import UsageError
from supervisor.report.schemas import RECORDS, schema_text
from supervisor.report.text.output import print_line

NAMES: Final[Mapping[str, str]] = {
    "config": "config/supervisor.toml: settings and pipelines",
    "batch": "a batch",
    **RECORDS,
}
GENERATED: Final = ("config", "batch", "spec", "request")


@click.command("schema")
@click.argument("name", required=False)
def command(name: str | None) -> int:
    """Print the JSON Schema of a file.

    Without NAME, lists the names. Editors complete and check keys with the schemas config and
    batch: with taplo (VS Code: Even Better TOML), the first line of the file is
    `#:schema ./schema/config.json`. Draft 2020-12.

    Example: supervisor schema config > config/schema/config.json
    """
    if name is None:
        width = max(map(len, NAMES))
        print_line("\n".join(f"{key:<{width}}  {text}" for key, text in NAMES.items()))
        return 0
    if name not in NAMES:
        raise UsageError(reason=unknown_name("schema", name, NAMES))
    sys.stdout.write(_generated(name) if name in GENERATED else schema_text(name))
    sys.stdout.flush()
    return 0


def _generated(name: str) -> str:
    from supervisor.config.json_schema import generated_schema  # pydantic: 100 ms

    return json.dumps(generated_schema(name), indent=2) + "\n"
