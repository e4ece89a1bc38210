"""Each record is damaged in one way, and verify names the file and the problem."""

import os
import shutil
from collections.abc import Callable

import pytest

from supervisor.report.verify.verify_root import verify
from tests.integration.broken import (
    PIPELINES,
    append,
    change,
    history,
    metrics,
    of,
    replace,
    state,
)
from tests.root import Root, wait_until

ERROR = "errors/01-s.json"
SECOND = (
    '{"seq": 99, "at": "x", "mono_s": 1, "event": "verdict", "by": "worker", "status": "failed"}'
)
BREAK: dict[str, tuple[str, Callable[[Root], object]]] = {
    "a directory that others may enter": (
        "is accessible to other users (mode 755)",
        lambda r: of(r, "good", "commands").chmod(0o755),
    ),
    "a file that its owner may not write": (
        "has mode 400, not 600",
        lambda r: of(r, "good", "spec.json").chmod(0o400),
    ),
    "a fifo": (
        "neither a file nor a directory",
        lambda r: os.mkfifo(of(r, "good", "commands") / "x", 0o600),
    ),
    "a file of another user": (
        "belongs to another user",
        lambda r: os.chown(of(r, "good", "spec.json"), 65_534, -1),
    ),
    "a marker of nothing": (
        "no directory and no request",
        lambda r: r.write(
            ".runs/.supervisor/accepted/2020-01-01T00-00-00-000Z-00000000", "default\n"
        ).chmod(0o600),
    ),
    "a marker that is none": (
        "has a name that is no run id",
        lambda r: r.write(".runs/.supervisor/accepted/x", "").chmod(0o600),
    ),
    "a spec of another run": (
        "is of run",
        lambda r: shutil.copyfile(of(r, "bad", "spec.json"), of(r, "good", "spec.json")),
    ),
    "a manifest of another run": (
        "is of run",
        lambda r: shutil.copyfile(of(r, "bad", "manifest.json"), of(r, "good", "manifest.json")),
    ),
    "a manifest of another shape": (
        "extensions must be an object",
        lambda r: change(of(r, "good", "manifest.json"), lambda m: m.update(extensions=[])),
    ),
    "a manifest with another exit code": (
        "differs from the journal in commands",
        lambda r: change(
            of(r, "bad", "manifest.json"), lambda m: m["commands"][0].update(exit_code=7)
        ),
    ),
    "a manifest that ends before it starts": (
        "differs from the journal in completed_at",
        lambda r: change(
            of(r, "good", "manifest.json"),
            lambda m: m.update(completed_at="1999-01-01T00:00:00.000Z"),
        ),
    ),
    "a manifest with other figures": (
        "differs from the journal in extensions.duration_s",
        lambda r: change(
            of(r, "good", "manifest.json"), lambda m: m["extensions"].update(duration_s=99.0)
        ),
    ),
    "a second verdict": (
        "has 2 verdicts",
        lambda r: append(of(r, "good", "journal.ndjson"), SECOND),
    ),
    "facts out of order": (
        "facts out of order",
        lambda r: replace(of(r, "good", "journal.ndjson"), '"seq": 2', '"seq": 1'),
    ),
    "a verdict of no status": (
        "lines that are not facts",
        lambda r: replace(
            of(r, "good", "journal.ndjson"), '"succeeded", "detail"', '"x", "detail"'
        ),
    ),
    "a log that was cut": (
        "the journal says 2",
        lambda r: of(r, "good", "commands/01-s.stdout.log").write_text(""),
    ),
    "a missing log": (
        "although its stage ended",
        lambda r: of(r, "good", "commands/01-s.stderr.log").unlink(),
    ),
    "a heartbeat over its limit": (
        "more than 4096",
        lambda r: of(r, "good", ".heartbeat").write_text("2020-01-01T00:00:00.000Z\n" * 200),
    ),
    "a heartbeat of something else": (
        "not an instant",
        lambda r: of(r, "good", ".heartbeat").write_text("badum\n"),
    ),
    "a missing error file": (
        "although the manifest names it",
        lambda r: of(r, "bad", ERROR).unlink(),
    ),
    "an error file of another run": (
        "is of stage s of run x",
        lambda r: change(of(r, "bad", ERROR), lambda e: e.update(run_id="x")),
    ),
    "an error file with another exit code": (
        "another exit code",
        lambda r: change(of(r, "bad", ERROR), lambda e: e["details"].update(exit_code=0)),
    ),
    "an error detail over its limit": (
        "bytes of stderr, more than 8192",
        lambda r: change(of(r, "bad", ERROR), lambda e: e["details"].update(stderr="x" * 8200)),
    ),
    "an error file without details": (
        "has no details",
        lambda r: change(of(r, "bad", ERROR), lambda e: e.pop("details")),
    ),
    "a history that calls a failure a success": (
        "in status",
        lambda r: replace(history(r), '"status": "failed"', '"status": "succeeded"'),
    ),
    "a history with garbage": (
        "1 lines that do not parse",
        lambda r: append(history(r), "garbage"),
    ),
    "a history with a line of another task": (
        "does not belong to this task",
        lambda r: replace(history(r), '"taskId": "default"', '"taskId": "other"'),
    ),
    "a state that tells a run otherwise": (
        "differs from the history in run",
        lambda r: change(state(r), lambda s: s["runs"][0].update(status="cancelled")),
    ),
    "a state in another order": (
        "in another order",
        lambda r: change(state(r), lambda s: s["runs"].reverse()),
    ),
    "a state with a run of its own": (
        "not among the history's newest",
        lambda r: change(state(r), lambda s: s["runs"][0].update(runId="x")),
    ),
    "a state that counts wrongly": (
        "counts 3 runs",
        lambda r: change(state(r), lambda s: s["totals"].update(failed=0, succeeded=3)),
    ),
    "a state that covers half a line": (
        "which is not the end of a line",
        lambda r: change(state(r), lambda s: s.update(historyBytes=7)),
    ),
    "metrics that count wrongly": (
        "not the sum of the history",
        lambda r: change(metrics(r), lambda m: m["totals"].update(heartbeat_writes_count=0)),
    ),
    "metrics that are no record": ("does not parse", lambda r: metrics(r).write_text("{")),
}


@pytest.mark.parametrize("name", BREAK)
def test_each_damaged_record_is_named(broken: Root, name: str) -> None:
    if "another user" in name and os.geteuid() != 0:
        pytest.skip("only root can give files away")
    assert list(verify(broken.layout)) == []
    what, damage = BREAK[name]
    damage(broken)
    found = [f"{item.path}: {item.problem}" for item in verify(broken.layout)]
    assert any(what in line for line in found), found


def test_intact_root_is_valid_at_every_instant(root: Root) -> None:
    root.configure(PIPELINES)
    process = root.popen("start", "--once", *["good", "bad"] * 6)
    found: list[str] = []

    def ended() -> bool:
        found.extend(f"{item.path}: {item.problem}" for item in verify(root.layout))
        return process.poll() is not None

    wait_until(ended, "all runs ended")
    assert root.finish(process).code == 10
    assert found == []
