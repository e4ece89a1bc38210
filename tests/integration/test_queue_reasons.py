"""Queued runs show why they do not start."""

from tests.root import Root, wait_until

HOLD = """
[pipelines.hold]
stages = [{ id = "s", command = "echo >> begun; while ! test -e go; do sleep 0.02; done" }]
"""


def reason(root: Root, run_id: str) -> str:
    """The reason in the tree of a queued run."""
    line = root.call("status", run_id).out.splitlines()[1]
    return line.partition(": ")[2]


def running(root: Root, count: int) -> None:
    begun = root.path / "begun"
    wait_until(lambda: begun.exists() and begun.read_text().count("\n") == count, "they run")

    def seen() -> bool:
        rows = root.call("status", "--json").json()["runs"]
        return sum(row["pid"] is not None for row in rows) == count

    wait_until(seen, "the supervisor's view has them")


def test_a_queued_run_shows_why_it_does_not_start(root: Root) -> None:
    root.configure(HOLD, "max_runs = 2\n[supervisor.groups]\ngpu = 1\n")

    def submit(*words: str) -> str:
        return root.call("submit", *words, "hold").out.strip()

    first = submit("--group", "gpu")
    assert reason(root, first) == "no supervisor is running; 'supervisor start' starts one"
    process = root.serving()
    running(root, 1)
    second = submit("--group", "gpu")
    wait_until(lambda: "group gpu" in reason(root, second), "it waits for its group")
    assert reason(root, second) == "group gpu is full (1 of 1 running)"
    third = submit()
    running(root, 2)
    fourth, after = submit(), submit("--after", third)
    wait_until(lambda: "max_runs" in reason(root, fourth), "max_runs is reached")
    assert reason(root, fourth) == "max_runs is reached (2 of 2 running)"
    assert "max_runs is reached: 2 of 2 running" in root.call("status").out
    assert reason(root, after) == f"waiting for {third} to succeed"
    assert root.call("pause", "--group", "gpu").code == 0
    assert reason(root, second) == "group gpu is paused; 'supervisor resume' lifts it"
    assert root.call("pause").code == 0
    assert reason(root, fourth) == "all runs are paused; 'supervisor resume' lifts it"
    root.stop(process)
