"""Links and strangers in the place of our files: modes, owners, what is never followed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.root import DEADLINE_S, Root, alive, wait_until

NOBODY = 65_534
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
OPENED = re.compile(
    r'(?:openat|mkdir|mkdirat|creat|open)\(.*?"([^"]+)".*?, 0(\d+)(?:\)| <unfinished)'
)


@pytest.mark.fault("S2")
@pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace")
def test_files_and_directories_are_private_from_the_first_instant(root: Root) -> None:
    trace = root.path / "trace"
    calls = "trace=openat,open,creat,mkdir,mkdirat,chmod,fchmod,fchmodat"
    script = f"umask 000; exec {sys.executable} -m supervisor run -- sh -c 'exit 1'"
    done = subprocess.run(
        [
            "strace",
            "-f",
            "-z",
            "-qq",
            "-s",
            "999",
            "-e",
            calls,
            "-o",
            str(trace),
            "sh",
            "-c",
            script,
        ],
        cwd=root.path,
        env={k: v for k, v in os.environ.items() if not k.startswith("SUPERVIS")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 10, done.stderr
    wait_until(lambda: os.listdir(root.layout.accepted) == [], "it is settled")
    made = []
    for line in trace.read_text().splitlines():
        ours = str(root.layout.runs) in line or str(root.layout.out) in line
        assert not (ours and "chmod" in line), f"a mode is mended afterwards: {line}"
        if ours and (" mkdir" in line or "O_CREAT" in line):
            found = OPENED.search(line)
            assert found, line
            made.append(found[1])
            assert int(found[2], 8) == (0o700 if " mkdir" in line else 0o600), line
    assert len(made) > 20
    root.check_settled(count=1)


def victim(root: Root) -> Path:
    """A file in a directory that a link leads to: nothing of it may change."""
    path = root.write("victim/kept", "untouched")
    path.chmod(0o644)
    return path


FOLDERS = [
    ".runs",
    "out",
    ".runs/.supervisor",
    ".runs/.supervisor/inbox",
    ".runs/.supervisor/accepted",
    ".runs/.supervisor/rejected",
    ".runs/default",
    ".runs/default/cli",
]


@pytest.mark.fault("S3")
@pytest.mark.parametrize("name", FOLDERS)
def test_a_link_in_a_directorys_place_is_refused_and_never_followed(root: Root, name: str) -> None:
    kept = victim(root)
    place = root.path / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(kept.parent)
    root.configure('[pipelines.p]\nstages = [{ id = "s", command = "touch done" }]\n')
    done = root.call("start", "--once", "p")
    assert done.code == 73
    assert f"{place}: is a symbolic link" in done.err
    assert os.listdir(kept.parent) == ["kept"]
    assert kept.stat().st_mode & 0o777 == 0o644
    assert not (root.path / "done").exists()


FILES = [
    ".runs/.supervisor/lease.json",
    ".runs/.supervisor/workers.log",
    ".runs/.supervisor/status.json",
    ".runs/.supervisor/supervisor.log",
    ".runs/default.lock",
    ".runs/default/metrics.json",
    "out/default/history.ndjson",
    "out/default/state.json",
]
RECORDS = ["manifest.json", "cancel.json", ".heartbeat", "journal.ndjson", "spec.json", ".owner"]
INSIDE = ["commands/01-s.stdout.log", "commands/01-s.stderr.log", "errors/01-s.json"]


def plant(root: Root, directory: Path, names: list[str]) -> dict[str, Path]:
    """Put a link to a file of its own in the place of each."""
    kept = {}
    for number, name in enumerate(names):
        place = directory / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        kept[name] = root.write(f"victim-{number}", "untouched")
        kept[name].chmod(0o644)
        place.symlink_to(kept[name])
    return kept


def check_untouched(kept: dict[str, Path]) -> None:
    for name, path in kept.items():
        assert path.read_text() == "untouched", name
        assert path.stat().st_mode & 0o777 == 0o644, name


@pytest.mark.fault("S3")
@pytest.mark.parametrize("name", ["lease.lock", "lease.probe"])
def test_a_link_that_keeps_us_from_work_is_refused_and_never_followed(
    root: Root, name: str
) -> None:
    root.configure('[pipelines.p]\nstages = [{ id = "s", command = "touch done" }]\n')
    kept = plant(root, root.path / ".runs/.supervisor", [name])
    done = root.call("start", "--once", "p")
    assert done.code == 73
    check_untouched(kept)
    assert not (root.path / "done").exists()


@pytest.mark.fault("S3")
def test_no_link_in_the_place_of_our_own_files_is_followed(root: Root) -> None:
    root.configure('[pipelines.p]\nstages = [{ id = "s", command = "true" }]\n')
    kept = plant(root, root.path, FILES)
    root.popen("start", "--once", "p")
    wait_until(lambda: any(m["completed_at"] for m in root.manifests()), "the run ended")
    check_untouched(kept)


@pytest.mark.fault("S3")
def test_no_link_in_the_place_of_a_runs_records_is_followed(root: Root) -> None:
    stages = 'stages = [{ id = "s", command = "touch begun; cat fifo; echo errors >&2; exit 1" }]'
    root.configure(f"[pipelines.p]\n{stages}\n")
    fifo = root.path / "fifo"
    os.mkfifo(fifo)
    root.popen("start", "--once", "p")
    wait_until((root.path / "begun").exists, "the stage runs")
    (directory,) = (root.path / ".runs/default/cli").iterdir()
    kept = plant(root, directory, [*RECORDS, *INSIDE])
    fifo.write_text("output")
    wait_until(lambda: not alive(f"workers\0{root.path}"), "its worker is done")
    check_untouched(kept)


@root_only
@pytest.mark.fault("S4")
@pytest.mark.parametrize("name", FOLDERS)
def test_a_directory_of_another_user_is_refused(root: Root, name: str) -> None:
    (root.path / name).mkdir(parents=True)
    os.chown(root.path / name, NOBODY, NOBODY)
    root.configure('[pipelines.p]\nstages = [{ id = "s", command = "touch done" }]\n')
    done = root.call("start", "--once", "p")
    assert done.code == 73
    told = re.compile(f"{root.path / name}:? belongs to .*uid 65534")
    assert told.search(done.err), done.err
    assert not (root.path / "done").exists()


@root_only
@pytest.mark.fault("S4")
def test_who_waits_for_a_run_that_has_no_place_is_told(root: Root) -> None:
    assert root.call("run", "--", "true").code == 0
    os.chown(root.path / ".runs/default", NOBODY, NOBODY)
    done = root.call("run", "--", "touch", "done")
    assert (done.code, "rejected the request" in done.err) == (73, True)
    assert not (root.path / "done").exists()


@pytest.mark.fault("S4")
def test_a_root_that_others_may_write_is_made_private_before_it_is_used(root: Root) -> None:
    assert root.call("run", "--", "true").code == 0
    wait_until(lambda: not os.path.exists(root.layout.lease), "the helper leaves")
    for name in FOLDERS:
        (root.path / name).chmod(0o777)
    assert root.call("run", "--", "true").code == 0
    assert [n for n in FOLDERS if (root.path / n).stat().st_mode & 0o777 != 0o700] == []


@pytest.mark.fault("S14")
def test_what_is_removed_is_never_reached_through_a_link(root: Root) -> None:
    assert shutil.rmtree.avoids_symlink_attacks
    assert root.call("start", "--once").code == 0
    kept = victim(root)
    half, link = (root.call("submit", "--", "true").out.strip() for _ in range(2))
    runs = Path(root.layout.runs_of("default"))
    runs.mkdir(parents=True, exist_ok=True)
    (runs / f".{half}.building/commands").mkdir(parents=True)
    (runs / f".{half}.building/commands/link").symlink_to(kept.parent)
    (runs / f".{link}.building").symlink_to(kept.parent)
    assert root.call("start", "--once").code == 0
    assert sorted(os.listdir(runs)) == sorted([half, link])
    assert kept.read_text() == "untouched"
    root.check_settled(count=2)
