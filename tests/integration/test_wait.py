import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.root import Root, root_in, wait_until

PIPELINES = """
[pipelines.good]
stages = [{ id = "s", command = "true" }]
[pipelines.bad]
stages = [{ id = "s", command = "exit 1" }]
[pipelines.hold]
stages = [{ id = "s", command = "until test -e go; do sleep 0.02; done" }]
"""


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Root]:
    """A root with a running supervisor."""
    with root_in(tmp_path / "root") as made:
        made.configure(PIPELINES)
        process = made.serving()
        yield made
        made.write("go", "")
        assert made.call("stop").code == 0
        made.finish(process)


def submit(root: Root, name: str) -> str:
    return root.call("submit", name).out.strip()


def test_any_exits_with_the_outcome_of_the_first_run(serving: Root) -> None:
    held, bad = submit(serving, "hold"), submit(serving, "bad")
    done = serving.call("wait", "--any", held, bad)
    assert done.code == 10
    assert done.out == f"{bad}  failed (stage:s:failed)\n"
    good = submit(serving, "good")
    assert serving.call("wait", good).code == 0
    done = serving.call("wait", "--any", "--json", good, bad, held)
    assert (done.code, done.json()["run_id"]) == (10, bad), "the one that ended first"
    done = serving.call("wait", "--any", held, "--timeout", "0.2")
    assert (done.code, done.out) == (124, f"{held}  unfinished\n")


def test_wait_exits_with_the_worst_outcome_and_counts_a_run_once(serving: Root) -> None:
    good, bad = submit(serving, "good"), submit(serving, "bad")
    done = serving.call("wait", good, bad, good[-8:], "--json")
    assert done.code == 10
    assert [line["run_id"] for line in done.json_lines()] == [good, bad]
    assert {line["schema"] for line in done.json_lines()} == {"pipeline-supervisor/wait/1"}


def test_wait_for_a_queued_run_without_a_supervisor(root: Root) -> None:
    root.configure(PIPELINES)
    run_id = submit(root, "bad")
    waiting = root.popen("wait", "--any", run_id)
    assert waiting.stderr is not None
    assert "no supervisor serves" in waiting.stderr.readline()
    assert root.call("start", "--once").code == 10
    assert root.finish(waiting).code == 10


def test_the_verdict_of_a_removed_run_comes_from_the_history(serving: Root) -> None:
    bad, good = submit(serving, "bad"), submit(serving, "good")
    assert serving.call("wait", bad, good).code == 10
    shutil.rmtree(serving.layout.run_dir("default", bad).path)
    done = serving.call("wait", bad[-8:])
    assert (done.code, done.out) == (10, f"{bad}  failed (stage:s:failed)\n")
    done = serving.call("status", bad, good)
    assert done.code == 3
    assert done.out.splitlines()[-1].split()[:4] == [bad, "default", "bad", "failed"]
    (row,) = serving.call("status", bad, "--json").json()["runs"]
    assert (row["status"], row["stages"]) == ("failed", [])
    assert serving.call("show", bad).code == 0
    for verb in ("logs", "events"):
        done = serving.call(verb, bad)
        assert done.code == 4
        assert "removed" in done.err


def test_removing_a_run_ends_the_wait(serving: Root) -> None:
    held = submit(serving, "hold")
    wait_until(lambda: serving.stages(), "it is at work")
    waiting = serving.popen("wait", held)
    directory = Path(serving.layout.run_dir("default", held).path)
    shutil.rmtree(directory)
    assert serving.finish(waiting).code == 12
