"""Where a run was is shown where that is not here, and always to programs."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.launcher.kinds import KINDS
from tests.root import Root, root_in, wait_until
from tests.screen import seat

HERE = os.uname().nodename
THERE = "node-0117.cluster.example"
PIPELINES = """
[pipelines.outer]
stages = [{ id = "kid", pipeline = "inner" }]
[pipelines.inner]
stages = [{ id = "s", command = "exit 3" }]
"""


def move(path: Path, host: str) -> None:
    """Say of all records below a directory that they were made on another host."""
    for file in (p for p in path.rglob("*") if p.suffix in (".json", ".ndjson")):
        text = file.read_text()
        file.write_text(text.replace(f'"host": "{HERE}"', f'"host": "{host}"'))


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    with root_in(tmp_path_factory.mktemp("near") / "root") as made:
        made.configure(PIPELINES)
        assert made.call("start", "--once", "outer").code == 10
        yield made


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    with root_in(tmp_path_factory.mktemp("far") / "root") as made:
        made.configure(PIPELINES)
        assert made.call("start", "--once", "outer").code == 10
        move(made.path, THERE)
        yield made


def test_a_table_has_hosts_only_where_one_is_another(near: Root, far: Root) -> None:
    assert HERE not in near.call("status").out.split("\n", 1)[1]
    lines = far.call("status").out.splitlines()
    assert lines[1].split() == ["RUN", "TASK", "PIPELINE", "HOST", "STATUS", "TIME", "NOTE"]
    assert all(line.split()[3] == THERE for line in lines[2:])


@pytest.mark.parametrize("words", [["status"], ["status", "latest"]], ids=" ".join)
def test_hosts_fit_into_eighty_columns(far: Root, words: list[str]) -> None:
    with seat(far.path, *words, columns=80) as place:
        assert place.end() == 3
        shown = place.screen.text()
    assert all(len(line) <= 80 for line in shown)
    if words == ["status"]:
        assert "HOST" in "\n".join(shown)
        assert sum("failed" in line and "node-" in line for line in shown) == 2


def test_the_tree_says_where_each_run_was(near: Root, far: Root) -> None:
    assert " on " not in near.call("status", "latest").out
    run = far.manifests()[0]["run_id"]
    assert far.call("status", run).out.splitlines()[0].endswith(f"  outer  on {THERE}")
    assert f"inner {far.manifests()[1]['run_id'][-8:]}  on {THERE}" in far.call("status", run).out


@pytest.mark.parametrize("words", [["status"], ["status", "latest"]], ids=" ".join)
def test_programs_are_always_told(near: Root, far: Root, words: list[str]) -> None:
    for root, host in ((near, HERE), (far, THERE)):
        runs = root.call(*words, "--json").json()["runs"]
        assert {run["host"] for run in runs} == {host}
    assert far.manifests()[0]["extensions"]["worker"]["host"] == THERE


def test_the_record_and_the_page_tell_it(near: Root, far: Root) -> None:
    assert "host" not in near.call("show", "latest").out
    run = far.manifests()[0]["run_id"]
    assert f"host      {THERE}" in far.call("show", run).out
    assert THERE in far.call("report", run, "-o", "-").out


def test_a_run_whose_directory_is_gone_has_its_host_in_the_history(near: Root) -> None:
    assert {line["host"] for line in near.history()} == {HERE}


def test_what_an_engine_has_is_told_from_what_waits_for_a_slot(tmp_path: Path) -> None:
    with KINDS["placed"](tmp_path) as bench:
        slots = tmp_path / "engine" / "slots"
        slots.write_text("0")
        bench.configure(PIPELINES, "max_runs = 1\n")
        process = bench.serving()
        placed, queued = (bench.call("submit", "--", "true").out.strip() for _ in range(2))
        told = "placed, waiting for dask"

        def notes() -> dict[str, str | None]:
            found = bench.call("status", "--json").json()["runs"]
            return {row["run_id"]: row["note"] for row in found if row["status"] == "queued"}

        wait_until(lambda: notes() == {placed: told, queued: None}, "one is placed")
        assert told in bench.call("status", placed).out
        assert told not in bench.call("status", queued).out
        assert bench.call("status").out.count(told) == 1
        slots.write_text("2")
        assert bench.call("wait", placed, queued).code == 0
        assert notes() == {}
        bench.stop(process)
