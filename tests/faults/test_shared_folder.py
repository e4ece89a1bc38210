"""``supervisor doctor`` tells what is wrong with a folder that hosts share."""

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
from supervisor.doctor.shared_folder import Delays, check_from_two_sides
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


def looked(mount: Mount | None, launcher: str = "zygote") -> list[CheckResult]:
    return list(check_mount(mount, launcher=launcher))


def test_a_mount_is_what_mountinfo_says() -> None:
    assert str(mounts()["/shared folder"]) == "nfs4, server:/exports/a on /shared folder"
    assert mounts()["/three"].options["acregmax"] == "1"
    assert len(mounts()) == 6


def test_the_deepest_mount_counts(tmp_path: Path) -> None:
    found = mount_of("/proc/self")
    assert found is not None
    assert found.kind == "proc"
    assert mount_of(str(tmp_path)) is not None


def test_a_local_folder_is_fine_until_runs_are_placed_elsewhere() -> None:
    assert [f.level for f in looked(mounts()["/"])] == [Level.OK]
    placed = looked(mounts()["/"], "dask")
    assert [f.level for f in placed] == [Level.WARN]
    assert "same path" in placed[0].mend


@pytest.mark.parametrize(
    ("point", "parts"),
    [
        ("/shared folder", ["up to 60 s late"]),
        ("/three", ["nolock, local_lock=all", "soft"]),
        ("/quick", []),
        ("/lustre", ["localflock"]),
    ],
)
def test_mount_options_that_matter_are_told_with_a_mend(point: str, parts: list[str]) -> None:
    warned = [found for found in looked(mounts()[point], "slurm") if found.level is Level.WARN]
    assert len(warned) == len(parts)
    for found, part in zip(warned, parts, strict=True):
        assert part in found.what
        assert found.mend


def look(
    directory: Path, *, hosts_count: int = 0, ages: Delays = PATIENT
) -> dict[str, CheckResult]:
    found = check_from_two_sides(str(directory / "probe"), hosts_count=hosts_count, ages=ages)
    return {finding.look: finding for finding in found}


def test_two_processes_see_what_each_changes_and_nothing_is_left(tmp_path: Path) -> None:
    found = look(tmp_path)
    assert {finding.level for finding in found.values()} == {Level.OK}
    assert all(kind in found["a second process: changes"].what for kind in CHANGES)
    assert list(tmp_path.iterdir()) == []


@contextmanager
def echoing(root: Root) -> Iterator[None]:
    """Another host, as far as a folder can tell."""
    process = root.popen("doctor", "--echo")
    wait_until(lambda: list(peers_in(root.layout.probe)), "it answers")
    yield
    assert root.finish(process).code == 0


def test_another_host_answers_until_it_was_asked_everything(root: Root) -> None:
    served(root.path)
    with echoing(root):
        done = root.call("doctor", "--hosts", "1", "--json")
    assert done.code == 0, done
    levels = {f["look"]: f["level"] for f in done.json()["findings"]}
    host = os.uname().nodename
    for about in ("changes", "claims", "flock", "clock"):
        assert levels[f"{host}: {about}"] == "ok"
    assert not Path(root.layout.probe).exists()


def test_a_change_that_is_seen_late_is_held_against_the_settings(tmp_path: Path) -> None:
    late = look(tmp_path, ages=Delays(interval_s=1e-6, hung_after_s=120.0))
    assert late["a second process: changes"].level is Level.WARN
    dead = look(tmp_path, ages=Delays(interval_s=1e-6, hung_after_s=1e-5))
    assert dead["a second process: changes"].level is Level.BAD
    assert "actimeo" in dead["a second process: changes"].mend


def test_a_change_that_is_never_seen_is_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def soon(looking: object, *, wait_s: float = 0.3, every_s: float = 0.01) -> bool:
        return poll_until(looking, wait_s=min(wait_s, 5.0), every_s=every_s)  # type: ignore[arg-type]

    monkeypatch.setattr(shared_folder, "see", soon)
    monkeypatch.setattr(shared_folder.Peer, "change", lambda *_: None)
    found = look(tmp_path)["a second process: changes"]
    assert (found.level, "is not seen" in found.what) == (Level.BAD, True)


def test_a_name_that_two_make_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{way}.{number}" for number in range(32) for way in ("create", "link")]
    monkeypatch.setattr(shared_folder, "win", lambda *_, **__: names)
    found = look(tmp_path)["a second process: claims"]
    assert (found.level, "run could be started twice" in found.mend) == (Level.BAD, True)


def test_a_lock_that_others_do_not_see_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_folder, "lock", lambda path: os.open(path, os.O_RDWR | os.O_CREAT))
    found = look(tmp_path)["a second process: flock"]
    assert (found.level, "one host only" in found.mend) == (Level.WARN, True)


def test_a_folder_without_flock_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: str) -> int:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(shared_folder, "lock", refuse)
    assert look(tmp_path)["a second process: flock"].level is Level.WARN


def test_a_clock_that_is_off_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_folder, "file_clock_s", lambda _: 90.0)
    found = look(tmp_path)["a second process: clock"]
    assert (found.level, "+90.0" in found.what) == (Level.WARN, True)


def test_who_does_not_answer_is_named_with_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "probe" / "elsewhere.77").mkdir(parents=True)
    monkeypatch.setattr(shared_folder, "_GREET_S", 1.0)
    found = look(tmp_path)["elsewhere"]
    assert (found.level, "rm -r" in found.mend) == (Level.WARN, True)
    assert (tmp_path / "probe" / "elsewhere.77").exists(), "it is theirs"


def test_what_a_killed_peer_of_this_host_left_goes(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / "probe" / f"{os.uname().nodename}.{gone.pid}").mkdir(parents=True)
    assert list(peers_in(str(tmp_path / "probe"))) == []
    assert list((tmp_path / "probe").iterdir()) == []


def test_nobody_asks_and_it_ends(tmp_path: Path) -> None:
    told: list[str] = []
    assert not answer_doctor(str(tmp_path / "probe"), idle_s=0.05, tell=told.append)
    assert "doctor --hosts 1" in told[0]
    assert list(tmp_path.iterdir()) == []


def test_what_fails_at_the_other_side_is_told_here(tmp_path: Path) -> None:
    place = tmp_path / "probe"
    answering = threading.Thread(
        target=lambda: answer_doctor(str(place), idle_s=20.0, tell=lambda _: None), daemon=True
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
