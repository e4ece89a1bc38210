"""A worker that an engine placed: one claim, a keeper, and no writes after the claim is revoked."""

import fcntl
import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.contract.worker.work import Run, make, shell
from tests.root import alive, wait_until
from workers.records.claim import SUPERVISOR, WORKER, Claim, read_claim, take_claim
from workers.records.identity import boot_id, host_name

HOLD = "touch begun; until test -e go; do sleep 0.02; done"


def hold(tmp_path: Path) -> Run:
    return make(tmp_path, [shell(f"cd {tmp_path}; {HOLD}")])


def claim_of(run: Run, attempt: int = 1) -> Claim:
    claim = read_claim(run.run.claim(attempt))
    assert claim is not None
    return claim


def worker_of(run: Run) -> int:
    (started,) = wait_until(lambda: run.of("run_started"), "the worker has begun")
    return int(started["identity"]["pid"])


def test_claim_records_its_holder_and_the_end_of_the_worker(tmp_path: Path) -> None:
    run = make(tmp_path, [shell("true")])
    keeper = run.start("--claim", "3")
    _, err = keeper.communicate(timeout=60)
    assert (keeper.returncode, err) == (0, b"")
    claim = claim_of(run, 3)
    assert claim.by == WORKER
    assert claim.holder is not None
    assert (claim.holder.host, claim.holder.boot_id) == (host_name(), boot_id())
    assert claim.holder.pid == keeper.pid
    assert claim.ended is not None
    assert (claim.ended.exit_code, claim.ended.signal) == (0, None)
    (started,) = run.of("run_started")
    assert started["attempt"] == 3
    assert started["identity"]["pid"] != keeper.pid
    assert run.verdict["status"] == "succeeded"
    assert not [name for name in os.listdir(run.run.path) if name.endswith(".tmp")]


def test_attempt_of_a_run_that_was_settled_meanwhile_is_not_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make(tmp_path, [shell("true")])
    link = os.link

    def sweep_first(source: str, target: str, **options: bool) -> None:
        os.unlink(source)  # as the supervisor does once the run has its verdict
        link(source, target, **options)

    monkeypatch.setattr(os, "link", sweep_first)
    assert take_claim(run.run, 1, by=WORKER, at_epoch_s=0.0) is None
    shutil.rmtree(run.run.path)
    with pytest.raises(FileNotFoundError):
        take_claim(run.run, 1, by=WORKER, at_epoch_s=0.0)


def test_only_one_of_many_placements_begins(tmp_path: Path) -> None:
    run = make(tmp_path, [shell(f"echo ran >> {tmp_path}/ran")])
    keepers = [run.start("--claim", "1") for _ in range(6)]
    ends = [(k.communicate(timeout=60)[1], k.returncode) for k in keepers]
    assert sorted(code for _, code in ends) == [0, 75, 75, 75, 75, 75]
    assert all(b"was begun before" in err for err, code in ends if code == 75)
    assert (tmp_path / "ran").read_text() == "ran\n"


def test_revoked_attempt_never_begins(tmp_path: Path) -> None:
    run = make(tmp_path, [shell(f"touch {tmp_path}/ran")])
    fd = take_claim(run.run, 1, by=SUPERVISOR, at_epoch_s=0.0)
    assert fd is not None
    os.close(fd)
    keeper = run.start("--claim", "1")
    keeper.communicate(timeout=60)
    assert keeper.returncode == 75
    assert claim_of(run).by == SUPERVISOR
    assert not (tmp_path / "ran").exists()


def test_killed_worker_leaves_nothing_and_its_keeper_records_it(tmp_path: Path) -> None:
    run = make(tmp_path, [shell(f"cd {tmp_path}; setsid sleep 300 & {HOLD}")])
    keeper = run.start("--claim", "1")
    wait_until((tmp_path / "begun").exists, "the stage runs")
    os.kill(worker_of(run), signal.SIGKILL)
    keeper.communicate(timeout=60)
    assert keeper.returncode == 128 + signal.SIGKILL
    assert not alive(f"SUPERVISED_ROOT={tmp_path}")
    ended = claim_of(run).ended
    assert ended is not None
    assert (ended.exit_code, ended.signal, ended.leftover_pids) == (None, "SIGKILL", ())


def test_keeper_passes_sigterm_on_to_the_worker(tmp_path: Path) -> None:
    run = hold(tmp_path)
    keeper = run.start("--claim", "1")
    wait_until((tmp_path / "begun").exists, "the stage runs")
    keeper.terminate()
    keeper.communicate(timeout=60)
    assert keeper.returncode == 0
    assert run.verdict["detail"] == "stopped"


def test_run_survives_its_killed_keeper(tmp_path: Path) -> None:
    run = hold(tmp_path)
    keeper = run.start("--claim", "1")
    wait_until((tmp_path / "begun").exists, "the stage runs")
    keeper.kill()
    keeper.wait()
    (tmp_path / "go").touch()
    wait_until(lambda: run.of("verdict"), "the worker has its verdict")
    assert run.verdict["status"] == "succeeded"


@pytest.mark.parametrize("how", ["renamed", "replaced"])
def test_worker_with_a_revoked_claim_ends_and_writes_nothing(tmp_path: Path, how: str) -> None:
    run = hold(tmp_path)
    keeper = run.start("--claim", "1")
    wait_until((tmp_path / "begun").exists, "the stage runs")
    os.rename(run.run.claim(1), run.run.revoked_claim(1))
    if how == "replaced":
        assert take_claim(run.run, 1, by=SUPERVISOR, at_epoch_s=0.0) is not None
    before = Path(run.run.journal).read_bytes()
    keeper.communicate(timeout=60)
    assert keeper.returncode == 75
    assert Path(run.run.journal).read_bytes() == before
    assert not alive(f"SUPERVISED_ROOT={tmp_path}")


def test_worker_checks_its_claim_before_it_writes(tmp_path: Path) -> None:
    run = make(tmp_path, [shell(f"mv {tmp_path}/.runs/t/cli/*/.claim.1 {tmp_path}/away")])
    keeper = run.start("--claim", "1")
    keeper.communicate(timeout=60)
    assert keeper.returncode == 75
    assert run.of("stage_ended") == run.of("verdict") == []


def test_claimed_worker_waits_for_an_owner_lock_that_is_held_briefly(
    tmp_path: Path,
) -> None:
    run = hold(tmp_path)
    with open(run.run.owner, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        keeper = run.start("--claim", "1")
        wait_until(lambda: read_claim(run.run.claim(1)), "it is claimed")
    wait_until((tmp_path / "begun").exists, "the stage runs")
    with open(run.run.owner, "rb") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    (tmp_path / "go").touch()
    keeper.communicate(timeout=60)
    assert keeper.returncode == 0


NO_LOCKS = """
import errno, fcntl, sys
def flock(fd, how):
    raise OSError(errno.{name}, "no locks here")
fcntl.flock = flock
from workers.__main__ import main
sys.exit(main(["workers", *sys.argv[1:]]))
"""


@pytest.mark.parametrize("name", ["ENOLCK", "EOPNOTSUPP", "EINVAL", "ENOSYS"])
def test_claim_is_enough_if_the_folder_has_no_locks(tmp_path: Path, name: str) -> None:
    run = make(tmp_path, [shell("true")])
    keeper = run.start_script(NO_LOCKS.format(name=name), "--claim", "1")
    _, err = keeper.communicate(timeout=60)
    assert keeper.returncode == 0, err
    assert run.verdict["status"] == "succeeded"


NO_LINKS = """
import errno, os, sys
def link(*_, **__):
    raise OSError(errno.EPERM, "no links here")
os.link = link
from workers.__main__ import main
sys.exit(main(["workers", *sys.argv[1:]]))
"""


def test_claim_is_created_once_if_the_folder_has_no_links(tmp_path: Path) -> None:
    run = make(tmp_path, [shell(f"echo ran >> {tmp_path}/ran")])
    keepers = [run.start_script(NO_LINKS, "--claim", "1") for _ in range(4)]
    for keeper in keepers:
        keeper.communicate(timeout=60)
    assert sorted(keeper.returncode for keeper in keepers) == [0, 75, 75, 75]
    assert claim_of(run).holder is not None
    assert (tmp_path / "ran").read_text() == "ran\n"


FULL_DISK = NO_LINKS.replace(
    "from workers",
    """
from workers.records import claim
write_all = claim.write_all
def torn(fd, data):
    if b"identity" in data and CLAIM in os.listdir(RUN):
        os.write(fd, data[:20])
        raise OSError(errno.ENOSPC, "no space")
    write_all(fd, data)
CLAIM, RUN = ".claim.1", sys.argv[1]
claim.write_all = torn
from workers""",
)


@pytest.mark.fault("R1")
def test_full_disk_without_links_still_records_the_end_of_the_worker(tmp_path: Path) -> None:
    run = make(tmp_path, [shell("true")])
    keeper = run.start_script(FULL_DISK, "--claim", "1")
    _, err = keeper.communicate(timeout=60)
    assert keeper.returncode == 0, err
    claim = claim_of(run)
    assert claim.holder is None
    assert claim.ended is not None
    assert claim.ended.exit_code == 0


def test_claim_in_a_directory_that_is_no_run_is_refused(tmp_path: Path) -> None:
    from workers.records.layout import RunDir

    run = Run(tmp_path, RunDir(str(tmp_path)))
    keeper = run.start("--claim", "1")
    _, err = keeper.communicate(timeout=60)
    assert keeper.returncode == 2
    assert b"it is no run" in err
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "by", "has_ended"),
    [
        ("", WORKER, False),
        ("garbage\n", WORKER, False),
        ('{"by": "supervisor", "identity": null}\n', SUPERVISOR, False),
        ('{"by": "worker"}\n{"ended_at": "x", "exit_code": 3, "signal": null}\n', WORKER, True),
        ('{"by": "wor{"ended_at": "x", "exit_code": 3}\n', WORKER, False),
    ],
)
def test_damaged_claim_is_still_a_claim(
    tmp_path: Path, text: str, by: str, has_ended: bool
) -> None:
    path = tmp_path / ".claim.1"
    path.write_text(text)
    claim = read_claim(str(path))
    assert claim is not None
    assert (claim.by, claim.ended is not None) == (by, has_ended)
