"""A pid on record that belongs to somebody else by now: the stranger gets no signal."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.holding import adopted, kill_supervisor, ran, workers
from tests.root import Root, wait_until
from workers.records.proc import proc_stat

# Notes every signal that can be noted, in a session that it leads, as a worker does.
BYSTANDER = """
import os, signal, sys
os.setsid()
if sys.argv[1] == "leaderless":
    led = os.getpid()
    if os.fork():
        os._exit(0)
else:
    led = os.getpid()
for number in signal.valid_signals():
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, lambda number, _: os.write(1, b"%d " % number))
print(led, os.getpid(), flush=True)
while True:
    signal.pause()
"""


@contextmanager
def bystander(kind: str) -> Iterator[tuple["subprocess.Popen[bytes]", int, int]]:
    """A process of somebody else; what it prints, the pid of its session, and its own."""
    words = [sys.executable, "-c", BYSTANDER, kind]
    started = subprocess.Popen(words, stdout=subprocess.PIPE)
    assert started.stdout is not None
    led, pid = (int(word) for word in started.stdout.readline().split())
    if pid != led:
        started.wait()  # nothing of the leader is left, only its session
    try:
        yield started, led, pid
    finally:
        os.kill(pid, signal.SIGKILL)
        started.communicate()


@pytest.mark.fault("P16")
@pytest.mark.parametrize("kind", ["leader", "leaderless"])
def test_a_stranger_with_the_pid_of_a_dead_worker_gets_no_signal(root: Root, kind: str) -> None:
    kill_supervisor(root, 1)
    for pid in workers(root):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not workers(root), "the worker is gone")
    with bystander(kind) as (stranger, led, pid):
        _take_pid(root, led)
        assert root.call("start", "--once").code == 12
        stat = proc_stat(pid)
        assert stat is not None
        assert not stat.has_ended
        os.kill(pid, signal.SIGKILL)
        assert stranger.stdout is not None
        assert stranger.stdout.read() == b"", "it got a signal"
    assert not root.stages()
    root.check_settled(count=1)


@pytest.mark.fault("P16")
def test_a_stranger_with_the_pid_of_a_living_worker_is_not_told_to_stop(root: Root) -> None:
    kill_supervisor(root, 1)
    with bystander("leader") as (stranger, led, pid):
        _take_pid(root, led)
        root.popen("start", "--once")
        wait_until(lambda: adopted(root) == 1, "it is adopted: its owner lock is held")
        assert root.call("cancel", ran(root)[0]).code == 0, "the file tells the worker"
        os.kill(pid, signal.SIGKILL)
        assert stranger.stdout is not None
        assert stranger.stdout.read() == b"", "it got a signal"
    assert root.manifests()[0]["status_detail"] == "cancelled-by-user"
    assert not root.stages()


def _take_pid(root: Root, pid: int) -> None:
    """Let the journal's worker have had the pid of a process of today."""
    (journal,) = (root.path / ".runs").glob("*/cli/*/journal.ndjson")
    facts = [json.loads(line) for line in journal.read_text().splitlines()]
    for fact in facts:
        if fact["event"] == "run_started":
            fact["identity"]["pid"] = pid
            fact["identity"]["start_ticks"] -= 1000
    with journal.open("r+") as file:  # in place: its worker may hold it open
        file.write("".join(json.dumps(fact, ensure_ascii=False) + "\n" for fact in facts))
        file.truncate()
