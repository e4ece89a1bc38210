"""``supervisor init``: a first configuration that runs."""

import json
import os
import shutil

import click

from supervisor.commands.options import root_option
from supervisor.edge.drafts import write_new
from supervisor.errors import UsageError
from supervisor.plan.root import absolute
from supervisor.plan.trust import check_writable, trust_of
from supervisor.report.text import say, tell
from workers.records.files import is_dir
from workers.records.layout import Layout

SCHEMAS = os.path.join("config", "schema")


@click.command("init", short_help="Write a first configuration that runs.")
@root_option
def command(root: str | None) -> int:
    """Write config/supervisor.toml and a batch that run at once, adapted to the project.

    The checks that pyproject.toml, package.json, Cargo.toml, go.mod or a Makefile name become
    stages, where their programs are there; where none is found, an example is written. Nothing
    that is there is ever overwritten. Without --root it is the current directory, not one above.

    Example: supervisor init
    """
    # Heavy: who only asks for help or a completion needs neither.
    from supervisor.plan.json_schema import batch_schema, config_schema
    from supervisor.plan.starter import starter_for

    chosen = root or os.environ.get("SUPERVISOR_ROOT") or os.curdir
    top = os.path.realpath(absolute(chosen))
    check_writable(Layout(top), trust_of(os.environ, os.geteuid()))
    if not is_dir(top):
        raise UsageError(why=f"{top} is no directory")
    starter = starter_for(top, shutil.which)
    taken = [name for name in starter.files if os.path.lexists(os.path.join(top, name))]
    if taken:
        raise UsageError(
            why=f"there already, and left as it is: {' and '.join(taken)} in {top}; "
            "'supervisor validate' checks it"
        )
    for name, schema in (("config", config_schema()), ("batch", batch_schema())):
        write_new(os.path.join(top, SCHEMAS, f"{name}.json"), json.dumps(schema, indent=2) + "\n")
    for notice in starter.notices:
        say(notice)
    for line in starter.found:
        tell(f"found    {line}")
    for name, text in starter.files.items():
        if not write_new(os.path.join(top, name), text):
            raise UsageError(why=f"{name} was just written by somebody else, and left as it is")
        tell(f"wrote    {name}")
    tell(f"wrote    {SCHEMAS}/, which describes every key to an editor")
    at = "" if chosen == os.curdir else f" --root {top}"
    tell(f"\nnext:    supervisor plan {starter.pipeline}{at}")
    tell(f"         supervisor start --once{at}")
    return 0
