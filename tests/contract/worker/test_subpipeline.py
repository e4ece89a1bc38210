"""A sub-pipeline stage; the test plays the supervisor."""

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from supervisor.store.intake import Intake
from tests.contract.worker.work import Run, make, shell
from tests.examples import stage
from tests.root import wait_until
from workers.records.clock import SystemClock
from workers.records.journal import Event, JournalWriter
from workers.records.layout import Layout
from workers.records.limits import Limits
from workers.records.request import Request, RequestKind, load_request, request_paths
from workers.records.spec import PipelineSpec, RunSpec, StageKind

CHILD = PipelineSpec(id="docs", title="Docs", stages=(stage("build"),))


def docs(**values: Any) -> Any:
    return stage("docs", kind=StageKind.SUBPIPELINE, command=None, pipeline="docs", **values)


def parent(tmp_path: Path, **values: Any) -> Run:
    pipelines = values.pop("pipelines", (CHILD,))
    limits = Limits(heartbeat_interval_s=0.1, grace_s=0.5)
    stages = [docs(**values), shell("touch after", "after")]
    return make(tmp_path, stages, pipelines=pipelines, limits=limits)


def next_request(run: Run, kind: RequestKind) -> Request:
    layout = Layout(str(run.root))

    def look() -> Request | None:
        found = [load_request(path) for path in request_paths(layout)]
        return next((request for request in found if request.kind is kind), None)

    request: Request = wait_until(look, f"a request of kind {kind}")
    return request


def give_verdict(run: Run, spec: RunSpec, status: str) -> None:
    """Make the child's run and end it, as a supervisor and its worker do."""
    (reader,) = Intake(Layout(str(run.root)), SystemClock()).accept([spec])
    journal = JournalWriter(reader.run.journal, by="worker", clock=SystemClock())
    journal.append(Event.VERDICT, {"status": status, "detail": None})
    journal.close()


def finish(process: "subprocess.Popen[bytes]") -> None:
    _, err = process.communicate(timeout=60)
    assert err == b"", err.decode()


def test_child_is_recorded_before_it_is_submitted_and_awaited(tmp_path: Path) -> None:
    run = parent(tmp_path)
    process = run.start()
    (child,) = next_request(run, RequestKind.RUNS).runs
    (started,) = run.of("child_started")
    assert started["sub_run_id"] == child.run_id
    assert (child.parent_run_id, child.asked_by) == (run.run.run_id, "worker")
    assert child.pipeline == CHILD
    give_verdict(run, child, "succeeded")
    finish(process)
    recorded = [e["event"] for e in run.events()][2:6]
    assert recorded == ["stage_started", "child_started", "child_ended", "stage_ended"]
    assert run.verdict["status"] == "succeeded"
    assert (tmp_path / "after").exists()


@pytest.mark.parametrize("status", ["failed", "cancelled"])
@pytest.mark.parametrize("optional", [False, True])
def test_failed_child_fails_its_stage_or_skips_it(
    tmp_path: Path, status: str, optional: bool
) -> None:
    run = parent(tmp_path, allow_failure=optional)
    process = run.start()
    give_verdict(run, next_request(run, RequestKind.RUNS).runs[0], status)
    finish(process)
    (ended, *_) = run.of("stage_ended")
    assert ended["reason"] == "subpipeline-failed"
    assert ended["status"] == ("skipped" if optional else "failed")
    detail = None if optional else "subpipeline:docs:failed"
    assert run.verdict["detail"] == detail
    assert run.of("child_ended")[0]["status"] == status


def test_cancellation_is_passed_on_and_the_end_of_the_child_is_awaited(tmp_path: Path) -> None:
    run = parent(tmp_path)
    process = run.start()
    (child,) = next_request(run, RequestKind.RUNS).runs
    Path(run.run.cancel).write_text(json.dumps({"detail": "cancelled-by-user"}))
    process.send_signal(signal.SIGTERM)
    request = next_request(run, RequestKind.CANCEL)
    assert (request.run_ids, request.detail) == ((child.run_id,), "cancelled-by-user")
    assert not run.of("verdict")
    give_verdict(run, child, "cancelled")
    finish(process)
    assert (run.verdict["status"], run.verdict["detail"]) == ("cancelled", "cancelled-by-user")
    assert not (tmp_path / "after").exists()


def test_child_that_takes_too_long_is_cancelled(tmp_path: Path) -> None:
    run = parent(tmp_path, timeout_s=0.2)
    process = run.start()
    (child,) = next_request(run, RequestKind.RUNS).runs
    assert next_request(run, RequestKind.CANCEL).detail == "stopped"
    give_verdict(run, child, "cancelled")
    finish(process)
    assert run.verdict["detail"] == "stage:docs:timed-out"


def test_child_that_never_ends_is_awaited_no_longer_than_promised(tmp_path: Path) -> None:
    run = parent(tmp_path, timeout_s=0.1)
    script = """
import sys
from workers import __main__ as program
from workers.stages import subpipeline
subpipeline.ENDING_MARGIN_S = 0.2
sys.exit(program.main(["workers", sys.argv[1]]))
"""
    finish(run.start_script(script))
    assert run.of("child_ended")[0]["status"] == "in_progress"
    assert run.verdict["detail"] == "stage:docs:timed-out"


def test_request_that_cannot_be_submitted_fails_the_stage(tmp_path: Path) -> None:
    run = parent(tmp_path)
    layout = Layout(str(tmp_path))
    Path(layout.inbox).rmdir()
    Path(layout.inbox).write_text("in the way")
    finish(run.start())
    assert run.verdict["detail"] == "stage:docs:error"
    assert run.of("stage_ended")[0]["reason"] == "spawn-failed"


def test_pipeline_that_the_spec_does_not_contain_fails_the_stage(tmp_path: Path) -> None:
    run = parent(tmp_path, pipelines=())
    finish(run.start())
    assert run.verdict["detail"] == "stage:docs:error"
    assert run.of("stage_ended")[0]["reason"] == "internal-error"
