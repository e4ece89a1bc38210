"""``supervisor doctor``: look at machine and root, and say what to do."""

import contextlib
import os
from collections.abc import Iterator

import click

from supervisor.commands.options import json_option, root_options
from supervisor.config.catalog import load_catalog
from supervisor.config.find_root import config_files, find_layout, layout_of, project_file
from supervisor.config.launcher_check import missing_for
from supervisor.config.load import settings_of
from supervisor.config.settings import Settings, limits_of
from supervisor.config.trust import Trust, untrusted
from supervisor.doctor.check_result import CheckResult, Level, bad, ok
from supervisor.doctor.dask_scheduler import check_scheduler
from supervisor.doctor.disk import check_disk, check_space
from supervisor.doctor.machine import check_machine, check_width
from supervisor.doctor.mounts import check_mount, mount_of
from supervisor.doctor.root_checks import check_root
from supervisor.doctor.shared_folder import Delays, check_from_two_sides
from supervisor.errors import ConfigError
from supervisor.report.text.output import print_error, print_json, table
from workers.entry.probe import answer_doctor as answer
from workers.records.files import make_private
from workers.records.layout import Layout

UNFIT = 73  # docs/reference/exit-codes.md
UNASKED = 124  # likewise


@click.command("doctor", short_help="Look at machine and root, and say what to do.")
@click.option(
    "--hosts",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Look together with N others who answer; each says 'supervisor doctor --echo' there.",
)
@click.option("--echo", is_flag=True, help="Answer a doctor on another host, and nothing else.")
@root_options
@json_option
def command(hosts: int, echo: bool, root: str | None, config: str | None, as_json: bool) -> int:
    """Look at the machine and the root, and say what to do where something is not as it should be.

    Nothing is changed: small files are made beside the supervisor's own and removed again; where
    there is no root yet, nothing is made at all. "warn" works, but less well than it could; with
    "bad" a start would refuse, or records could be lost: then it exits with 73.

    For a folder that hosts share: 'supervisor doctor --echo' on the others, which waits for up to
    ten minutes, and 'supervisor doctor --hosts N' on one.

    Example: supervisor doctor --json
    """
    if echo:
        return _echo(layout_of(root, config, writes=True))
    layout, trust = find_layout(root, config)
    found = [
        *_configuration(layout, trust, config),
        *_look(layout, settings_of(layout, config), hosts, config),
    ]
    if as_json:
        facts = {"root": layout.root, "findings": [finding.to_json() for finding in found]}
        print_json("doctor", facts)
    else:
        click.echo(_table(found))
    return UNFIT if any(finding.level is Level.BAD for finding in found) else 0


def _echo(layout: Layout) -> int:
    make_private(layout.runs, layout.control)
    if answer(layout.probe, tell=print_error):
        return 0
    print_error("nobody asked")
    return UNASKED


def _configuration(layout: Layout, trust: Trust, config: str | None) -> Iterator[CheckResult]:
    """Check who can write the files that commands are read from."""
    files = config_files(layout.root, project_file(layout.root, config), os.environ)
    files = tuple(filter(os.path.lexists, files))
    found = list(untrusted(files, layout.root, trust, named=False))
    for item in found:
        yield bad("configuration", f"{item.path} {item.why}", item.fix)
    if files and not found:
        yield ok("configuration", "can be written by its owner alone")


def _look(
    layout: Layout, settings: Settings, hosts_count: int, config: str | None
) -> Iterator[CheckResult]:
    if not os.path.isdir(layout.root):
        yield bad("root", f"{layout.root} is no directory", "make it, or choose another --root")
        return
    yield from check_machine(max_runs=settings.max_runs, watched=layout.root)
    with contextlib.suppress(ConfigError):  # 'supervisor validate' lists what is wrong
        catalog = load_catalog(layout.root, project_file(layout.root, config))
        yield from check_width(catalog.pipelines.values())
    lack = missing_for(settings.launcher)
    if lack is None:
        yield ok("launcher", settings.launcher)
    else:
        yield bad("launcher", f"{settings.launcher}: {lack.what}", lack.mend)
    if settings.launcher == "dask" and settings.dask_scheduler is not None:
        yield check_scheduler(settings.dask_scheduler)
    yield from check_space(layout.root, max_runs=settings.max_runs, limits=limits_of(settings))
    if os.path.isdir(layout.control):
        yield ok("root", layout.root)
        yield from check_root(layout)
        yield from check_mount(mount_of(layout.control), launcher=settings.launcher)
        if os.stat(layout.control).st_uid != os.geteuid():
            return  # nothing is written next to the records of another user
        disk = list(check_disk(layout.control))
        yield from disk
        if not any(finding.level is Level.BAD for finding in disk):
            ages = Delays(
                interval_s=settings.heartbeat_interval_s, hung_after_s=settings.hung_after_s
            )
            yield from check_from_two_sides(layout.probe, hosts_count=hosts_count, ages=ages)
    elif os.access(layout.root, os.W_OK | os.X_OK):
        yield ok(
            "root",
            f"{layout.root}: no supervisor has served it yet; writing and locking are looked at "
            "once one has",
        )
    else:
        yield bad(
            "root",
            f"{layout.root} cannot be written",
            "run as its owner, remount it for writing, or choose another --root",
        )


def _table(found: list[CheckResult]) -> str:
    rows = [
        (finding.level, finding.look, "; ".join(filter(None, (finding.what, finding.mend))))
        for finding in found
    ]
    return table(("", "LOOK", "FOUND, AND WHAT TO DO"), rows)
