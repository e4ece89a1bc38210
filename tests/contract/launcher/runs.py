"""Pipelines of the launchers' tests, and readers of their records."""

from pathlib import Path

from tests.contract.launcher.kinds import Bench
from tests.root import wait_until

RAN = "echo $SUPERVISED_RUN_ID >> ran"
PIPELINES = f"""
[pipelines.good]
stages = [{{ id = "s", command = "{RAN}" }}]
[pipelines.bad]
stages = [{{ id = "s", command = "{RAN}; exit 3" }}]
[pipelines.hold]
stages = [{{ id = "s", command = "{RAN}; until test -e go; do sleep 0.05; done" }}]
[pipelines.sub]
stages = [{{ id = "inner", pipeline = "good" }}]
"""


def ran(bench: Bench) -> list[str]:
    path = bench.path / "ran"
    return path.read_text().split() if path.exists() else []


def holding(bench: Bench, count: int) -> list[str]:
    """Hand in runs that wait for a file called go; their ids, once all are at work."""
    known = len(ran(bench))
    ids = [bench.call("submit", "hold").out.strip() for _ in range(count)]
    wait_until(lambda: len(ran(bench)) == known + count, "all stages run")
    return ids


def worker_of(bench: Bench, run_id: str) -> int:
    (started,) = [e for e in bench.events(run_id) if e["event"] == "run_started"]
    return int(started["identity"]["pid"])


def verdict_of(bench: Bench, run_id: str) -> dict[str, object]:
    (found,) = [e for e in bench.events(run_id) if e["event"] == "verdict"]
    return found


def cancel(bench: Bench, run_id: str) -> None:
    """Cancel a run at work: its worker ends it, and records that."""
    assert bench.call("cancel", run_id).code == 0
    assert bench.call("wait", run_id).code == 11
    verdict = verdict_of(bench, run_id)
    assert (verdict["detail"], verdict["by"]) == ("cancelled-by-user", "worker")


def run_dir(bench: Bench, run_id: str) -> Path:
    return bench.path / ".runs/default/cli" / run_id


def set_fault(bench: Bench, what: str, text: str = "") -> None:
    """Let the loopback engine do something."""
    Path(bench.environ["LOOPBACK"], what).write_text(text)
