"""``supervisor init``."""

import json
import os
import shutil

import click

from supervisor.commands.options import root_option
from supervisor.config.find_root import absolute
from supervisor.config.trust import check_writable, trust_of
from supervisor.errors import UsageError
from supervisor.report.text.output import print_error, print_line
from workers.records.files import is_dir
from workers.records.layout import Layout

SCHEMAS = os.path.join("config", "schema")


@click.command("init")
@root_option
def command(root: str | None) -> int:
    """Create a configuration for this project.

    Writes config/supervisor.toml and a batch. Checks named in pyproject.toml, package.json,
    Cargo.toml, go.mod or a Makefile become stages if their programs are installed; without any, it
    writes an example. Overwrites nothing. Without --root, it writes to the current directory.

    Example: supervisor init
    """
    # pydantic is slow to import; --help and completion need neither.
    from supervisor.config.init_template import starter_for, write_new
    from supervisor.config.json_schema import generated_schema

    chosen = root or os.environ.get("SUPERVISOR_ROOT") or os.curdir
    top = os.path.realpath(absolute(chosen))
    check_writable(Layout(top), trust_of(os.environ, os.geteuid()))
    if not is_dir(top):
        raise UsageError(reason=f"{top} is not a directory")
    starter = starter_for(top, shutil.which)
    taken = [name for name in starter.files if os.path.lexists(os.path.join(top, name))]
    if taken:
        raise UsageError(
            reason=f"{' and '.join(taken)} already exist in {top} and were not changed; "
            "'supervisor validate' checks them"
        )
    for name in ("config", "batch"):
        schema = json.dumps(generated_schema(name), indent=2) + "\n"
        write_new(os.path.join(top, SCHEMAS, f"{name}.json"), schema)
    for notice in starter.notices:
        print_error(notice)
    for line in starter.checks:
        print_line(f"found    {line}")
    for name, text in starter.files.items():
        if not write_new(os.path.join(top, name), text):
            raise UsageError(reason=f"another process has just written {name}; it was not changed")
        print_line(f"wrote    {name}")
    print_line(f"wrote    {SCHEMAS}/, with which editors complete and check keys")
    at = "" if chosen == os.curdir else f" --root {top}"
    print_line(f"\nnext:    supervisor plan {starter.pipeline}{at}")
    print_line(f"         supervisor start --once{at}")
    return 0
