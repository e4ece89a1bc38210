"""A launcher is chosen by a flag; one that cannot be used here is refused before all else."""

import os
import socket
from pathlib import Path

import pytest

from tests.root import Root, without_module

INSTALL = "pip install 'pipeline-supervisor[dask]'"
GOOD = '[pipelines.good]\nstages = [{ id = "s", command = "true" }]\n'


def without_dask(root: Root) -> dict[str, str]:
    """An environment in which Dask is not installed, whether it is or not."""
    return without_module("distributed", root.path.parent / "blocked")


def test_dask_that_is_not_installed_is_one_error_with_the_command(root: Root) -> None:
    root.configure(GOOD)
    done = root.call("start", "--once", "--launcher", "dask", "good", env=without_dask(root))
    assert done.code == 78
    (line,) = done.err.splitlines()
    assert line.startswith('supervisor: launcher = "dask": Dask is not installed')
    assert INSTALL in line
    assert not (root.path / ".runs").exists()


def test_slurm_without_its_commands_is_one_error(root: Root, tmp_path: Path) -> None:
    root.configure(GOOD)
    done = root.call("start", "--once", "--launcher", "slurm", "good", env={"PATH": str(tmp_path)})
    assert done.code == 78
    (line,) = done.err.splitlines()
    assert "sbatch, squeue, scancel not found on PATH" in line
    assert not (root.path / ".runs").exists()


def test_a_run_that_would_start_a_helper_is_told_the_same(root: Root) -> None:
    root.configure(GOOD, launcher="dask")
    done = root.call("run", "good", env=without_dask(root))
    assert (done.code, INSTALL in done.err) == (78, True)
    assert not (root.path / ".runs").exists()
    assert root.call("submit", "good", env=without_dask(root)).code == 0, "it starts nothing"


def test_a_run_that_a_living_supervisor_serves_needs_no_launcher_of_its_own(root: Root) -> None:
    root.configure(GOOD)
    process = root.serving()
    env = {**without_dask(root), "SUPERVISOR_LAUNCHER": "dask"}
    assert root.call("run", "good", env=env).code == 0
    root.stop(process)


def test_the_flag_wins_over_the_file(root: Root) -> None:
    root.configure(GOOD, launcher="dask")
    done = root.call("start", "--once", "--launcher", "exec", "good", env=without_dask(root))
    assert done.code == 0, done


def test_a_scheduler_without_dask_and_an_unknown_launcher_are_wrong_use(root: Root) -> None:
    root.configure(GOOD)
    done = root.call("start", "--once", "--dask-scheduler", "tcp://127.0.0.1:1", "good")
    assert (done.code, done.err) == (2, "supervisor: --dask-scheduler is for --launcher dask\n")
    assert root.call("start", "--launcher", "ssh").code == 2
    assert not (root.path / ".runs").exists()


@pytest.mark.parametrize("launcher", ["dask", "slurm"])
def test_doctor_tells_a_launcher_that_cannot_be_used(root: Root, launcher: str) -> None:
    env = {**without_dask(root), "SUPERVISOR_LAUNCHER": launcher, "PATH": os.devnull}
    done = root.call("doctor", "--json", env=env)
    (found,) = (f for f in done.json()["findings"] if f["check"] == "launcher")
    assert (done.code, found["level"]) == (73, "bad")
    assert found["fix"]


def test_doctor_looks_whether_anybody_is_at_the_scheduler(root: Root) -> None:
    root.configure(GOOD, launcher="dask")

    def looked(address: str) -> dict[str, str]:
        env = {"SUPERVISOR_DASK_SCHEDULER": address}
        findings = root.call("doctor", "--json", env=env).json()["findings"]
        (found,) = (f for f in findings if f["check"] == "scheduler")
        return dict(found)

    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        there = looked(address)
    assert (there["level"], "runs wait" in there["fix"]) == ("warn", False)  # tcp:// has no TLS
    gone = looked(address)
    assert (gone["level"], "runs wait" in gone["fix"]) == ("warn", True)
    assert looked("inproc://somewhere")["level"] == "warn"
    assert looked("tcp://host:99999")["level"] == "bad"
