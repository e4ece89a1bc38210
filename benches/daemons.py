"""Peers that are daemons: started with ``count`` programs, stopped when each has run once.

The whole life of the daemon is measured, as it is for ``supervisor start --once``.
"""

import json
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benches.measure import Cost, until
from benches.peers import find
from benches.place import directory
from benches.programs import program, stamps
from benches.tools import checked
from benches.tree import Tree, tree

STOP_S = 10.0


def supervisord(base: Path | None, count: int) -> Cost:
    """supervisord: programs that are not restarted; a log file per stream."""
    with directory(base) as place:
        job = f"{program('stamp')} {place / 'stamps'}"
        return _life(place, count, [supervisord_argv(place, count, job)], None)


def supervisord_argv(place: Path, count: int, job: str) -> list[str]:
    """Write its configuration and return the command line that starts it."""
    head = f"nodaemon=true\nlogfile={place}/log\npidfile={place}/pid\nchildlogdir={place}\n"
    control = (
        f"[unix_http_server]\nfile={place}/sock\n[supervisorctl]\nserverurl=unix://{place}/sock\n"
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
    )
    programs = "".join(
        f"[program:p{i}]\ncommand={job}\nautorestart=false\nstartsecs=0\n" for i in range(count)
    )
    (place / "conf").write_text(f"[supervisord]\n{head}{control}{programs}")
    return [str(find("supervisord")), "-c", str(place / "conf")]


def circus(base: Path | None, count: int) -> Cost:
    """circusd: watchers that are not restarted."""
    with directory(base) as place:
        job = f"{program('stamp')} {place / 'stamps'}"
        ends = f"endpoint = ipc://{place}/end\npubsub_endpoint = ipc://{place}/pub\n"
        watchers = "".join(
            f"[watcher:p{i}]\ncmd = {job}\nnumprocesses = 1\nrespawn = false\nwarmup_delay = 0\n"
            for i in range(count)
        )
        (place / "ini").write_text(f"[circus]\n{ends}{watchers}")
        return _life(place, count, [[str(find("circusd")), str(place / "ini")]], None)


def pm2(base: Path | None, count: int) -> Cost:
    """pm2: applications that are not restarted, with client and daemon."""
    tool = str(find("pm2"))
    with directory(base) as place:
        app = {
            "script": str(program("stamp")),
            "args": str(place / "stamps"),
            "interpreter": "none",
            "exec_mode": "fork",
            "autorestart": False,
        }
        apps = {"apps": [{"name": f"p{i}", **app} for i in range(count)]}
        (place / "apps.json").write_text(json.dumps(apps))
        begin = [tool, "start", str(place / "apps.json"), "--silent"]
        return _life(place, count, [begin], [tool, "kill", "--silent"])


def _life(
    place: Path, count: int, begin: Sequence[Sequence[str]], end: Sequence[str] | None
) -> Cost:
    env = {"HOME": str(place), "PM2_HOME": str(place)}
    with tree() as mine:
        began = time.monotonic()
        started = [mine.start(argv, place, env=env) for argv in begin]
        until(lambda: len(stamps(place / "stamps")) >= count, "the jobs of a daemon")
        if end is not None:
            _wait_or_kill(mine.start(end, place, env=env))
        for process in started:
            if end is None:
                process.send_signal(signal.SIGTERM)
            _wait_or_kill(process)
        ended = time.monotonic()
        mine.settle()
        cpu_s = mine.cpu_s()
    checked("the daemon", place / "stamps", count)
    return Cost(cpu_s=cpu_s, began_mono_s=began, ended_mono_s=ended)


def _wait_or_kill(process: "subprocess.Popen[bytes]") -> None:
    """Wait for a daemon whose jobs have run; circusd may ignore a TERM during its start."""
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def living_supervisord(place: Path, count: int) -> Iterator[tuple[Tree, "subprocess.Popen[bytes]"]]:
    """Supervisord with ``count`` programs that sleep."""
    with tree() as mine:
        process = mine.start(supervisord_argv(place, count, "sleep 600"), place)
        log = place / "log"
        until(
            lambda: log.exists() and log.read_text().count("entered RUNNING state") >= count,
            "the programs of supervisord",
        )
        try:
            yield mine, process
        finally:
            process.send_signal(signal.SIGTERM)
            _wait_or_kill(process)
