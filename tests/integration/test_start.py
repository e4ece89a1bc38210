import fcntl
import json
import os
import signal
from pathlib import Path

import pytest

from tests.root import Root, alive, wait_until

PIPELINES = """
[pipelines.good]
title = "Good"
stages = [
    { id = "say", command = ["echo", "hello"] },
    { id = "shell", command = "echo a | tr a b" },
]
[pipelines.bad]
stages = [
    { id = "first", command = "true" },
    { id = "breaks", command = "echo out; echo 'the last line' >&2; exit 7" },
    { id = "never", command = "touch never" },
]
[pipelines.parent]
stages = [{ id = "before", command = "true" }, { id = "kid", pipeline = "good" }]
[pipelines.bad-parent]
stages = [{ id = "kid", pipeline = "bad" }]
[pipelines.lenient]
stages = [{ id = "kid", pipeline = "bad", optional = true }, { id = "after", command = "true" }]
[pipelines.slow]
stages = [{ id = "sleep", command = "sleep 30" }]
"""
NEW = '[pipelines.new]\nstages = [{ id = "s", command = "true" }]\n'


def test_a_start_that_finds_nothing_to_do_says_so(root: Root) -> None:
    root.configure(PIPELINES)
    done = root.call("start", "--once")
    assert (done.code, done.out, "nothing to do" in done.err) == (0, "", True)


@pytest.mark.parametrize("words", [("--batch", "batch.toml"), ("--again",)])
def test_pipelines_and_a_batch_are_not_named_together(root: Root, words: tuple[str, ...]) -> None:
    root.configure(PIPELINES)
    root.write("batch.toml", '[[runs]]\npipeline = "good"\n')
    done = root.call("start", "--once", "good", *words)
    assert (done.code, words[0] in done.err) == (2, True)
    assert not (root.path / ".runs").exists()


def test_a_batch_is_run_to_its_end_and_every_run_is_on_record(root: Root) -> None:
    root.configure(PIPELINES)
    root.write("batch.toml", '[[runs]]\npipeline = "good"\ntask = "t"\ncount = 20\n')
    done = root.call("start", "--once", "--batch", "batch.toml")
    assert (done.code, done.err) == (0, "")
    assert done.out.count("succeeded") == 21
    assert ".runs/t/cli" in done.out
    root.check_settled("t", count=20)
    (run_id, *_) = [m["run_id"] for m in root.manifests("t")]
    logs = root.path / f".runs/t/cli/{run_id}/commands"
    assert (logs / "01-say.stdout.log").read_text() == "hello\n"
    assert (logs / "02-shell.stdout.log").read_text() == "b\n"


def test_a_failing_stage_fails_its_run_and_the_error_file_has_the_last_line(root: Root) -> None:
    root.configure(PIPELINES)
    done = root.call("start", "--once", "bad", "good")
    assert done.code == 10
    bad = next(m for m in root.manifests() if m["pipeline_id"] == "bad")
    assert (bad["status"], bad["status_detail"]) == ("failed", "stage:breaks:failed")
    assert [c["status"] for c in bad["commands"]] == ["succeeded", "failed", "pending"]
    assert bad["commands"][1]["exit_code"] == 7
    error = json.loads((root.path / bad["commands"][1]["error_file"]).read_text())
    assert error["details"]["stderr"].endswith("the last line\n")
    assert not (root.path / "never").exists()
    root.check_settled(count=2)


def test_a_sub_pipeline_is_a_run_of_its_own_linked_both_ways(root: Root) -> None:
    root.configure(PIPELINES)
    done = root.call("start", "--once", "parent", "--max-runs", "1")
    assert done.code == 0
    parent = next(m for m in root.manifests() if m["pipeline_id"] == "parent")
    child = next(m for m in root.manifests() if m["pipeline_id"] == "good")
    assert child["parent_run_id"] == parent["run_id"]
    assert f"good (of {parent['run_id'][-8:]})" in done.out
    assert parent["commands"][1]["sub_run_id"] == child["run_id"]
    (link,) = parent["child_runs"]
    assert (link["run_id"], link["status"]) == (child["run_id"], "succeeded")
    assert (root.path / link["manifest"]).exists()
    root.check_settled(count=2)


def test_a_failed_sub_pipeline_fails_its_parent_unless_it_is_optional(root: Root) -> None:
    root.configure(PIPELINES)
    assert root.call("start", "--once", "bad-parent").code == 10
    assert root.call("start", "--once", "lenient").code == 0
    by_id = {m["pipeline_id"]: m for m in root.manifests()}
    assert by_id["bad-parent"]["status_detail"] == "subpipeline:bad:failed"
    assert [c["status"] for c in by_id["lenient"]["commands"]] == ["skipped", "succeeded"]
    root.check_settled(count=4)


def test_json_is_one_object_per_line_and_nothing_else(root: Root) -> None:
    root.configure(PIPELINES)
    done = root.call("start", "--once", "good", "bad", "--json")
    *runs, summary = done.json_lines()
    assert {r["schema"] for r in runs} == {"pipeline-supervisor/run-finished/1"}
    assert sorted(r["status"] for r in runs) == ["failed", "succeeded"]
    assert (summary["schema"], summary["failed"]) == ("pipeline-supervisor/start-summary/1", 1)


def test_a_second_start_on_the_same_root_exits_75_and_names_the_first(root: Root) -> None:
    first = root.serving()
    done = root.call("start", "--once")
    assert done.code == 75
    assert f"pid {first.pid}" in done.err
    link = root.path.parent / "link"
    link.symlink_to(root.path)
    assert root.call("start", "--once", "--root", str(link)).code == 75
    first.send_signal(signal.SIGTERM)
    assert root.finish(first).code == 143


def test_a_term_drains_and_what_is_queued_stays_queued(root: Root) -> None:
    root.configure(PIPELINES.replace("sleep 30", "while ! test -e go; do sleep 0.05; done"))
    root.write("batch.toml", '[[runs]]\npipeline = "slow"\ncount = 3\n')
    process = root.popen("start", "--once", "--batch", "batch.toml", "--max-runs", "1")
    wait_until(lambda: root.stages(), "a stage runs")
    process.send_signal(signal.SIGTERM)
    status = root.path / ".runs/.supervisor/status.json"
    wait_until(lambda: json.loads(status.read_text())["mode"] == "draining", "it drains")
    root.write("go", "")
    done = root.finish(process)
    assert done.code == 143
    assert "2 runs left queued" in done.err
    statuses = sorted(m["status"] for m in root.manifests())
    assert statuses == ["queued", "queued", "succeeded"]
    again = root.call("start", "--once", "--batch", "batch.toml")
    assert again.code == 0
    assert "continuing batch.toml" in again.err
    root.check_settled(count=3)


@pytest.mark.fault("C33")
@pytest.mark.parametrize(
    ("edit", "is_told"),
    [('[[runs]]\npipeline = "slow"\ncount = 1\n', True), ("# a comment\n", False)],
    ids=["fewer runs", "a comment"],
)
def test_a_batch_edited_while_it_is_unfinished_is_reported(
    root: Root, edit: str, is_told: bool
) -> None:
    root.configure(PIPELINES.replace("sleep 30", "sleep 1"))
    text = '[[runs]]\npipeline = "slow"\ncount = 2\n'
    root.write("batch.toml", text)
    process = root.popen("start", "--once", "--batch", "batch.toml", "--max-runs", "1")
    wait_until(lambda: root.stages(), "a stage runs")
    process.send_signal(signal.SIGTERM)
    root.finish(process)
    root.write("batch.toml", edit if is_told else edit + text)
    again = root.call("start", "--once", "--batch", "batch.toml")
    assert again.code == 0
    assert ("batch.toml has changed since" in again.err) == is_told
    root.check_settled(count=2)


def test_a_second_signal_stops_what_runs_with_a_verdict(root: Root) -> None:
    root.configure(PIPELINES)
    process = root.popen("start", "--once", "slow")
    wait_until(lambda: root.stages(), "a stage runs")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert root.finish(process).code in (130, 143)
    (manifest,) = root.manifests()
    assert (manifest["status"], manifest["status_detail"]) == ("cancelled", "stopped")
    assert not alive(f"SUPERVISED_ROOT={root.path}")
    root.check_settled(count=1)


@pytest.mark.fault("P8")
def test_a_storm_of_signals_makes_one_shutdown_and_one_verdict_each(root: Root) -> None:
    root.configure(PIPELINES)
    process = root.popen("start", "--once", "slow", "slow", "slow")
    wait_until(lambda: len(root.running()) == 3, "three stages run")
    for _ in range(50):
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
    done = root.finish(process)
    assert done.code in (130, 143)
    assert "Traceback" not in done.err
    root.check_settled(count=3)


def test_hup_reads_the_configuration_again_and_tells_what_changed(root: Root) -> None:
    root.configure(PIPELINES)
    process = root.serving()
    settings = 'max_runs = 7\nhistory_limit = 9\nsecrets = ["HUSH"]\ngroups = { gpu = 2 }\n'
    root.configure(PIPELINES.replace("exit 7", "exit 4") + NEW, settings=settings)
    process.send_signal(signal.SIGHUP)
    view = Path(root.layout.status)
    wait_until(lambda: json.loads(view.read_text())["max_runs"] == 7, "max_runs is 7")
    process.send_signal(signal.SIGTERM)
    done = root.finish(process)
    told = {
        "max_runs 50 -> 7",
        "groups.gpu none -> 2",
        "history_limit 1000 -> 9, effective at the next start",
        "secrets changed, effective for new runs",
        "pipeline new added",
        "pipeline bad changed, effective for new runs",
    }
    (entry,) = [line for line in root.log() if line["event"] == "reloaded"]
    assert set(entry["changes"]) == told
    assert all(f"supervisor: reloaded: {text}\n" in done.err for text in told)
    assert "HUSH" not in done.err


def test_hup_and_term_at_once_drain_and_do_not_stop(root: Root) -> None:
    root.configure(PIPELINES)
    process = root.popen("start")
    run_id = root.call("submit", "--", "sh", "-c", "while ! test -e go; do sleep 0.05; done").out
    wait_until(lambda: root.stages(), "a stage runs")
    os.kill(process.pid, signal.SIGSTOP)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    os.kill(process.pid, signal.SIGCONT)
    root.write("go", "")
    assert root.finish(process).code == 143
    assert root.call("wait", run_id.strip()).code == 0


def test_a_configuration_with_errors_is_not_reloaded(root: Root) -> None:
    process = root.serving()
    root.configure(settings="max_runs = 'many'")
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    done = root.finish(process)
    assert done.code == 143
    assert "not reloaded, the old configuration stays" in done.err
    (entry,) = [line for line in root.log() if line["event"] == "reload_refused"]
    assert "supervisor.max_runs" in entry["problems"][0]
    assert "supervisor.max_runs" in done.err


@pytest.mark.fault("P19")
def test_a_stage_sees_what_the_contract_promises_and_nothing_of_ours(root: Root) -> None:
    script = (
        "import os, signal, sys; "
        "print(sorted(os.listdir('/proc/self/fd'))[:3]); "
        "print([k for k in sorted(os.environ) if k.startswith('SUPERVISED_')]); "
        "print(os.readlink('/proc/self/fd/0')); "
        "print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "
        "signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    )
    root.write("probe.py", script)
    root.configure('[pipelines.probe]\nstages = [{ id = "p", command = "python3 probe.py" }]\n')
    assert root.call("start", "--once", "probe").code == 0
    (manifest,) = root.manifests()
    text = (root.path / manifest["commands"][0]["log_path"]).read_text()
    for name in ("RUN_ID", "TASK_ID", "PIPELINE_ID", "STAGE_ID", "RUN_DIR", "ROOT", "TRY"):
        assert f"SUPERVISED_{name}" in text
    assert "/dev/null" in text
    assert "True set()" in text


@pytest.mark.fault("V10")
def test_a_reader_that_stops_reading_never_stops_the_supervisor(root: Root) -> None:
    root.configure(PIPELINES)
    root.write("batch.toml", '[[runs]]\npipeline = "good"\ncount = 80\n')
    process = root.popen("start", "--once", "--batch", "batch.toml")
    assert process.stdout is not None
    fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
    process.wait(timeout=60)
    assert process.returncode == 0
    root.check_settled(count=80)
