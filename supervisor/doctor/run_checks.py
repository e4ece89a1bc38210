"""Every health check of ``supervisor doctor``, in the order in which it prints them."""

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Final

from supervisor.config.catalog import load_catalog
from supervisor.config.find_root import config_files, project_file
from supervisor.config.launcher_check import missing_for
from supervisor.config.settings import Settings, limits_of
from supervisor.config.trust import Trust, untrusted
from supervisor.doctor.check_result import CheckResult, Level, bad, ok, warn
from supervisor.doctor.disk import check_disk, check_space
from supervisor.doctor.machine import check_machine, check_width
from supervisor.doctor.mounts import check_mount, mount_of
from supervisor.doctor.root_checks import check_root
from supervisor.doctor.shared_folder import Delays, check_shared_folder
from supervisor.errors import ConfigError
from workers.records.layout import Layout

_CONNECT_S: Final = 3.0
_HOST_NAME_LIMIT: Final = 253  # characters, RFC 1035


def check_configuration(layout: Layout, trust: Trust, config: str | None) -> Iterator[CheckResult]:
    """Check who can write the files that commands are read from.

    Args:
        layout: the root.
        trust: whose files may be used.
        config: ``--config``.
    """
    files = config_files(layout.root, project_file(layout.root, config), os.environ)
    files = tuple(filter(os.path.lexists, files))
    problems = list(untrusted(files, layout.root, trust, named=False))
    for problem in problems:
        yield bad("configuration", f"{problem.path} {problem.why}", problem.fix)
    if files and not problems:
        yield ok("configuration", "only its owner can write it")


def run_checks(
    layout: Layout, settings: Settings, config: str | None, *, hosts_count: int
) -> Iterator[CheckResult]:
    """Check the machine and the root. Changes nothing: files that it creates are removed again.

    Args:
        layout: the root.
        settings: its settings.
        config: ``--config``.
        hosts_count: the number of other hosts to check the root's folder with.
    """
    if not os.path.isdir(layout.root):
        yield bad("root", f"{layout.root} is not a directory", "create it or choose another --root")
        return
    yield from check_machine(max_runs=settings.max_runs, watched=layout.root)
    with contextlib.suppress(ConfigError):  # 'supervisor validate' lists the mistakes
        catalog = load_catalog(layout.root, project_file(layout.root, config))
        yield from check_width(catalog.pipelines.values())
    yield from _launcher(settings)
    yield from check_space(layout.root, max_runs=settings.max_runs, limits=limits_of(settings))
    if os.path.isdir(layout.control):
        yield from _served_root(layout, settings, hosts_count)
    elif os.access(layout.root, os.W_OK | os.X_OK):
        what = "no supervisor has served it yet; doctor checks writing and locking after the first"
        yield ok("root", f"{layout.root}: {what}")
    else:
        fix = "run as its owner, remount it for writing, or choose another --root"
        yield bad("root", f"{layout.root} cannot be written", fix)


def _served_root(layout: Layout, settings: Settings, hosts_count: int) -> Iterator[CheckResult]:
    yield ok("root", layout.root)
    yield from check_root(layout)
    yield from check_mount(mount_of(layout.control), launcher=settings.launcher)
    if os.stat(layout.control).st_uid != os.geteuid():
        return  # doctor writes nothing next to the records of another user
    disk = list(check_disk(layout.control))
    yield from disk
    if all(result.level is not Level.BAD for result in disk):
        delays = Delays(
            interval_s=settings.heartbeat_interval_s, hung_after_s=settings.hung_after_s
        )
        yield from check_shared_folder(layout.probe, hosts_count=hosts_count, delays=delays)


def _launcher(settings: Settings) -> Iterator[CheckResult]:
    missing = missing_for(settings.launcher)
    if missing is None:
        yield ok("launcher", settings.launcher)
    else:
        yield bad("launcher", f"{settings.launcher}: {missing[0]}", missing[1])
    if settings.launcher == "dask" and settings.dask_scheduler is not None:
        yield check_scheduler(settings.dask_scheduler)


def check_scheduler(address: str) -> CheckResult:
    """Check that a process listens at an address like ``tcp://10.0.0.1:8786``, without Dask."""
    scheme, _, place = address.partition("://")
    host, _, port = place.rpartition(":")
    if scheme not in ("tcp", "tls") or not port.isascii() or not port.isdigit():
        fix = "doctor can check dask_scheduler = tcp://HOST:PORT or tls://HOST:PORT"
        return warn("scheduler", f"{address} cannot be checked", fix)
    if not 0 < int(port) < 65_536 or not 0 < len(host) <= _HOST_NAME_LIMIT:
        return bad("scheduler", f"{address} is not an address", "use tcp://HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except (OSError, UnicodeError) as error:
        return warn(
            "scheduler",
            f"no process listens at {address} ({error})",
            "start it there ('dask scheduler --host ... --port ...'); until then runs wait for it",
        )
    if scheme == "tcp":
        loopback = host == "localhost" or host.startswith("127.") or host.strip("[]") == "::1"
        users = "every user of this host" if loopback else "everyone who can connect"
        return warn(
            "scheduler",
            f"{address} is served without TLS: {users} can run code as you",
            "use tls://HOST:PORT (docs/how-to/run-on-several-hosts.md), unless you trust them all",
        )
    return ok("scheduler", f"a scheduler listens at {address}")
