"""The service manager gets notifications, and no other process does."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.daemon.sd_notify import notifier_of
from tests.root import short_path


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with (
        short_path(tmp_path) as directory,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening,
    ):
        listening.bind(f"{directory}/notify")
        listening.setblocking(False)
        yield listening


def received(manager: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(manager.recv(4096).decode())
        except BlockingIOError:
            return found


def test_service_manager_gets_every_notification(manager: socket.socket) -> None:
    environ = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "4000000", "A": "1"}
    notifier = notifier_of(environ, 7)
    assert environ == {"A": "1"}
    notifier.ready()
    notifier.alive(100.0, "1 active")
    notifier.alive(101.0, "1 active")
    notifier.alive(102.0, "2 active")
    notifier.reloading(102.5)
    notifier.stopping()
    notifier.close()
    assert received(manager) == [
        "READY=1",
        "WATCHDOG=1",
        "STATUS=1 active",
        "WATCHDOG=1",
        "STATUS=2 active",
        "RELOADING=1\nMONOTONIC_USEC=102500000",
        "STOPPING=1",
    ]


def test_abstract_socket_gets_notifications() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0pipeline-supervisor-test-{os.getpid()}")
        manager.setblocking(False)
        name = f"@pipeline-supervisor-test-{os.getpid()}"
        notifier = notifier_of({"NOTIFY_SOCKET": name}, 7)
        notifier.ready()
        notifier.close()
        assert received(manager) == ["READY=1"]


@pytest.mark.parametrize(
    "environ",
    [{"WATCHDOG_USEC": "2", "WATCHDOG_PID": "8"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "x"}],
)
def test_watchdog_of_another_process_gets_no_notifications(
    manager: socket.socket, environ: dict[str, str]
) -> None:
    notifier = notifier_of({**environ, "NOTIFY_SOCKET": manager.getsockname()}, 7)
    notifier.alive(1.0, "")
    notifier.close()
    assert received(manager) == []


@pytest.mark.parametrize("address", ["", "relative", "/" + "x" * 200, "/nobody/listens"])
def test_nothing_is_sent_without_a_service_manager(address: str) -> None:
    environ = {"NOTIFY_SOCKET": address}
    notifier = notifier_of(environ, 7)
    assert environ == {}
    notifier.ready()
    notifier.alive(1.0, "1 active")
    notifier.close()


def test_manager_that_does_not_read_is_never_waited_for(manager: socket.socket) -> None:
    notifier = notifier_of({"NOTIFY_SOCKET": manager.getsockname()}, 7)
    for number in range(10_000):
        notifier.alive(1.0, str(number))
    notifier.close()
    assert len(received(manager)) < 10_000


def test_message_refused_by_a_busy_manager_is_sent_when_it_reads_again(
    manager: socket.socket,
) -> None:
    notifier = notifier_of({"NOTIFY_SOCKET": manager.getsockname()}, 7)
    for _ in range(1000):
        notifier.reloading(1.0)
    notifier.ready()
    notifier.alive(1.0, "3 active")
    notifier.alive(1.0, "2 active")
    messages: list[str] = []
    while "STATUS=2 active" not in messages:
        taken = received(manager)
        assert taken, "nothing more is sent"
        messages += taken
        notifier.alive(1.0, "2 active")
    notifier.close()
    assert messages.count("RELOADING=1\nMONOTONIC_USEC=1000000") == 1000
    assert messages[1000:] == ["READY=1", "STATUS=2 active"]
