"""``supervisor doctor`` reports what is wrong with a folder that hosts share."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervisor.doctor import shared_folder
from supervisor.doctor.check_result import CheckResult, Level
from supervisor.doctor.mounts import Mount, check_mount, mount_of, mounts_in
from supervisor.doctor.shared_folder import Delays, check_shared_folder
from tests.faults.test_doctor import served
from tests.root import Root, wait_until
from workers.entry.probe import CHANGES, answer_doctor, peers_in, poll_until

PATIENT = Delays(interval_s=60.0, hung_after_s=120.0)
MOUNTINFO = r"""
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 22 0:28 / /shared\040folder rw shared:5 - nfs4 server:/exports/a rw,hard,local_lock=none
32 22 0:29 / /three rw - nfs server:/three rw,nolock,soft,acregmax=1,acdirmax=1,local_lock=all
33 22 0:30 / /quick rw - nfs4 server:/quick rw,hard,noac,local_lock=none
34 22 0:31 / /lustre rw - lustre 10.0.0.1@tcp:/l rw,localflock
35 31 0:32 / /shared\040folder/over rw - tmpfs tmpfs rw
torn line
"""


def mounts() -> dict[str, Mount]:
    return {mount.point: mount for mount in mounts_in(MOUNTINFO)}


def mount_results(mount: Mount | None, launcher: str = "zygote") -> list[CheckResult]:
    return list(check_mount(mount, launcher=launcher))


def test_mountinfo_is_parsed() -> None:
    assert str(mounts()["/shared folder"]) == "nfs4, server:/exports/a on /shared folder"
    assert mounts()["/three"].options["acregmax"] == "1"
    assert len(mounts()) == 6


def test_the_deepest_mount_counts(tmp_path: Path) -> None:
    found = mount_of("/proc/self")
    assert found is not None
    assert found.kind == "proc"
    assert mount_of(str(tmp_path)) is not None


def test_a_local_folder_is_a_warning_only_with_an_engine() -> None:
    assert [f.level for f in mount_results(mounts()["/"])] == [Level.OK]
    placed = mount_results(mounts()["/"], "dask")
    assert [f.level for f in placed] == [Level.WARN]
    assert "same path" in placed[0].fix


@pytest.mark.parametrize(
    ("point", "parts"),
    [
        ("/shared folder", ["up to 60 s late"]),
        ("/three", ["nolock, local_lock=all", "soft"]),
        ("/quick", []),
        ("/lustre", ["localflock"]),
    ],
)
def test_harmful_mount_options_are_reported_with_a_fix(point: str, parts: list[str]) -> None:
    warned = [
        found for found in mount_results(mounts()[point], "slurm") if found.level is Level.WARN
    ]
    assert len(warned) == len(parts)
    for found, part in zip(warned, parts, strict=True):
        assert part in found.what
        assert found.fix


def check(
    directory: Path, *, hosts_count: int = 0, delays: Delays = PATIENT
) -> dict[str, CheckResult]:
    found = check_shared_folder(str(directory / "probe"), hosts_count=hosts_count, delays=delays)
    return {finding.check: finding for finding in found}


def test_two_processes_see_each_others_changes_and_leave_no_files(tmp_path: Path) -> None:
    found = check(tmp_path)
    assert {finding.level for finding in found.values()} == {Level.OK}
    assert all(kind in found["a second process: changes"].what for kind in CHANGES)
    assert list(tmp_path.iterdir()) == []


@contextmanager
def echoing(root: Root) -> Iterator[None]:
    """Another process that answers, like another host."""
    process = root.popen("doctor", "--echo")
    wait_until(lambda: list(peers_in(root.layout.probe)), "it answers")
    yield
    assert root.finish(process).code == 0


def test_another_host_answers_every_check(root: Root) -> None:
    served(root.path)
    with echoing(root):
        done = root.call("doctor", "--hosts", "1", "--json")
    assert done.code == 0, done
    levels = {f["check"]: f["level"] for f in done.json()["findings"]}
    host = os.uname().nodename
    for about in ("changes", "claims", "flock", "clock"):
        assert levels[f"{host}: {about}"] == "ok"
    assert not Path(root.layout.probe).exists()


def test_late_changes_are_compared_with_the_settings(tmp_path: Path) -> None:
    late = check(tmp_path, delays=Delays(interval_s=1e-6, hung_after_s=120.0))
    assert late["a second process: changes"].level is Level.WARN
    dead = check(tmp_path, delays=Delays(interval_s=1e-6, hung_after_s=1e-5))
    assert dead["a second process: changes"].level is Level.BAD
    assert "actimeo" in dead["a second process: changes"].fix


def test_a_change_that_is_never_seen_is_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def soon(looking: object, *, wait_s: float = 0.3, every_s: float = 0.01) -> bool:
        return poll_until(looking, wait_s=min(wait_s, 5.0), every_s=every_s)  # type: ignore[arg-type]

    monkeypatch.setattr(shared_folder, "poll_until", soon)
    monkeypatch.setattr(shared_folder.Peer, "change", lambda *_: None)
    found = check(tmp_path)["a second process: changes"]
    assert (found.level, "is not seen" in found.what) == (Level.BAD, True)


def test_a_name_created_by_both_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{way}.{number}" for number in range(32) for way in ("create", "link")]
    monkeypatch.setattr(shared_folder, "win_names", lambda *_, **__: names)
    found = check(tmp_path)["a second process: claims"]
    assert (found.level, "run could be started twice" in found.fix) == (Level.BAD, True)


def test_a_lock_that_others_do_not_see_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_folder, "lock", lambda path: os.open(path, os.O_RDWR | os.O_CREAT))
    found = check(tmp_path)["a second process: flock"]
    assert (found.level, "one host only" in found.fix) == (Level.WARN, True)


def test_a_folder_without_flock_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: str) -> int:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(shared_folder, "lock", refuse)
    assert check(tmp_path)["a second process: flock"].level is Level.WARN


def test_a_clock_that_is_off_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_folder, "file_clock_s", lambda _: 90.0)
    found = check(tmp_path)["a second process: clock"]
    assert (found.level, "+90.0" in found.what) == (Level.WARN, True)


def test_a_silent_peer_is_reported_with_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "probe" / "elsewhere.77").mkdir(parents=True)
    monkeypatch.setattr(shared_folder, "_GREET_S", 1.0)
    found = check(tmp_path)["elsewhere"]
    assert (found.level, "rm -r" in found.fix) == (Level.WARN, True)
    assert (tmp_path / "probe" / "elsewhere.77").exists(), "it belongs to another host"


def test_the_directory_of_a_killed_local_peer_is_removed(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / "probe" / f"{os.uname().nodename}.{gone.pid}").mkdir(parents=True)
    assert list(peers_in(str(tmp_path / "probe"))) == []
    assert list((tmp_path / "probe").iterdir()) == []


def test_echo_exits_if_no_doctor_asks(tmp_path: Path) -> None:
    told: list[str] = []
    assert not answer_doctor(str(tmp_path / "probe"), idle_s=0.05, report=told.append)
    assert "doctor --hosts 1" in told[0]
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_peer_is_reported(tmp_path: Path) -> None:
    place = tmp_path / "probe"
    answering = threading.Thread(
        target=lambda: answer_doctor(str(place), idle_s=20.0, report=lambda _: None), daemon=True
    )
    answering.start()
    assert poll_until(lambda: bool(list(peers_in(str(place)))), wait_s=10.0)
    peer = shared_folder.Peer(next(peers_in(str(place))))
    Path(peer.place, "clock.theirs").mkdir()
    answer = peer.end(peer.begin("greet"))
    assert answer is not None
    assert "clock.theirs" in answer["error"]
    peer.begin("leave")
    answering.join(20.0)
    assert not answering.is_alive()
