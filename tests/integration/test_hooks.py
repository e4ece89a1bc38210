"""Hooks: started when a run is on record, at most once, bounded, and harmless."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from supervisor.report.verify.verify_root import verify
from tests.root import Root, alive, kill_all, wait_until
from workers.records.proc import proc_stat

PIPELINES = """
[pipelines.good]
stages = [{ id = "s", command = "echo x" }]
[pipelines.bad]
stages = [{ id = "s", command = "exit 3" }]
[pipelines.own]
env = { FROM = "pipeline" }
on_success = ["sh", "-c", "echo own $FROM >> $SUPERVISED_ROOT/told"]
stages = [{ id = "s", command = "true" }]
[pipelines.parent]
stages = [{ id = "kid", pipeline = "own" }]
[pipelines.wait]
stages = [{ id = "s", command = "while ! test -e $SUPERVISED_ROOT/go; do sleep 0.05; done" }]
"""

TELL = """
on_success = "echo success $SUPERVISED_PIPELINE_ID >> told"
on_failure = "echo failure $SUPERVISED_STATUS_DETAIL >> told"
on_finish = "echo finish $SUPERVISED_STATUS >> told"
"""


def make(root: Root) -> int:
    """Submit a run and wait for its end, and not for that of its hooks; returns its exit status."""
    return root.call("wait", root.call("submit", "good").out.strip()).code


def told(root: Root) -> list[str]:
    path = root.path / "told"
    return path.read_text().splitlines() if path.exists() else []


def hook(root: Root, event: str) -> dict[str, Any]:
    (path,) = (root.path / ".runs").glob(f"*/cli/*/hooks/{event}.json")
    value: dict[str, Any] = json.loads(path.read_text())
    return value


def owed(root: Root) -> list[str]:
    path = Path(root.layout.hooks)
    return os.listdir(path) if path.exists() else []


def test_each_ending_starts_its_hooks_in_order_and_once_waits_for_them(root: Root) -> None:
    root.configure(PIPELINES, settings=TELL)
    assert root.call("start", "--once", "good").code == 0
    assert told(root) == ["success good", "finish succeeded"]
    assert root.call("start", "--once", "bad").code == 10
    assert told(root)[2:] == ["failure stage:s:failed", "finish failed"]
    assert owed(root) == []
    root.check_settled(count=2)


def test_a_cancelled_run_only_finishes(root: Root) -> None:
    root.configure(PIPELINES, settings=TELL)
    process = root.popen("start", "--once", "wait")
    wait_until(root.stages, "it runs")
    root.call("cancel", "latest")
    assert root.finish(process).code == 11
    assert told(root) == ["finish cancelled"]


def test_a_pipelines_own_takes_the_place_of_the_settings_one(root: Root) -> None:
    root.configure(PIPELINES, settings=TELL)
    assert root.call("start", "--once", "own").code == 0
    assert told(root) == ["own pipeline", "finish succeeded"]


def test_of_a_sub_pipeline_only_its_own_are_started(root: Root) -> None:
    root.configure(PIPELINES, settings=TELL)
    assert root.call("start", "--once", "parent").code == 0
    assert sorted(told(root)) == ["finish succeeded", "own pipeline", "success parent"]


def test_the_record_is_on_stdin_and_the_run_is_in_history_and_state(root: Root) -> None:
    script = "cat > record.json; cp out/default/state.json state.json; env > env.txt"
    root.configure(PIPELINES, settings=f'on_finish = "{script}"')
    assert root.call("start", "--once", "good").code == 0
    (manifest,) = root.manifests()
    assert json.loads((root.path / "record.json").read_text()) == manifest
    state = json.loads((root.path / "state.json").read_text())
    assert [run["runId"] for run in state["runs"]] == [manifest["run_id"]]
    env = (root.path / "env.txt").read_text().splitlines()
    for line in (
        f"SUPERVISED_RUN_ID={manifest['run_id']}",
        "SUPERVISED_TASK_ID=default",
        "SUPERVISED_HOOK=on_finish",
        "SUPERVISED_STATUS=succeeded",
        f"SUPERVISED_ROOT={root.path}",
        f"SUPERVISED_MANIFEST={root.path}/{manifest['artifact_root']}/manifest.json",
    ):
        assert line in env


@pytest.mark.parametrize(
    ("command", "status", "told_how"),
    [
        (
            "echo words; echo more >&2; exit 7",
            "failed",
            {"exit_code": 7, "output": "words\nmore\n"},
        ),
        ("kill -9 $$", "failed", {"signal": "SIGKILL", "exit_code": None}),
        ("exec /nowhere/program", "failed", {"exit_code": 127}),
        ("trap '' TERM; echo late; while :; do sleep 0.1; done", "timed-out", {"output": "late\n"}),
    ],
)
def test_a_hook_that_fails_is_recorded_and_harms_nothing(
    root: Root, command: str, status: str, told_how: dict[str, Any]
) -> None:
    settings = f"on_finish = {json.dumps(command)}\nhook_timeout_s = 1.0"
    root.configure(PIPELINES, settings=settings)
    done = root.call("start", "--once", "good")
    assert done.code == 0
    record = hook(root, "on_finish")
    assert record["status"] == status
    assert {key: record[key] for key in told_how} == told_how
    assert f"its on_finish hook {status.replace(chr(45), chr(32))}" in done.err
    (line,) = [line for line in root.log() if line["event"] == "hook_ended"]
    assert (line["status"], line["hook"]) == (status, "on_finish")
    root.check_settled(count=1)


def test_a_program_that_is_not_there_is_recorded(root: Root) -> None:
    root.configure(PIPELINES, settings='on_success = ["/nowhere/program"]')
    assert root.call("start", "--once", "good").code == 0
    assert hook(root, "on_success")["status"] == "not-started"
    assert "/nowhere/program" in hook(root, "on_success")["reason"]


def test_a_flood_is_bounded_and_what_it_leaves_in_the_background_is_ended(root: Root) -> None:
    root.configure(
        PIPELINES,
        settings='on_finish = "head -c 3000000 /dev/zero; printf end; sleep 600 & echo $! > pid"',
    )
    assert root.call("start", "--once", "good").code == 0
    record = hook(root, "on_finish")
    assert record["output"].endswith("end")
    assert len(record["output"]) == 8192
    assert record["output_dropped_bytes"] == 3_000_003 - 8192
    pid = int((root.path / "pid").read_text())
    stat = proc_stat(pid)
    assert stat is None or stat.has_ended


def test_secrets_are_hidden_in_what_a_hook_says(root: Root) -> None:
    root.configure(PIPELINES, settings='secrets = ["TOKEN"]\non_finish = "echo $TOKEN"')
    env = {"TOKEN": "a-very-secret-word"}
    assert root.call("start", "--once", "good", env=env).code == 0
    assert hook(root, "on_finish")["output"] == "***\n"


def test_a_secret_that_is_written_into_a_hook_is_refused(root: Root) -> None:
    settings = 'secrets = ["TOKEN"]\non_finish = "curl -H a-very-secret-word"'
    root.configure(PIPELINES, settings=settings)
    done = root.call("validate", env={"TOKEN": "a-very-secret-word"})
    assert done.code == 78
    assert "supervisor.on_finish" in done.err


def test_the_supervisor_works_on_while_hooks_run_and_only_so_many_do_at_once(root: Root) -> None:
    hold = "echo begun >> begun; while ! test -e release; do sleep 0.05; done"
    root.configure(PIPELINES, settings=f'on_finish = "{hold}"')
    server = root.serving()
    for _ in range(6):
        assert make(root) == 0
    begun = root.path / "begun"
    wait_until(lambda: begun.exists() and len(begun.read_text().split()) == 4, "four run")
    assert make(root) == 0, "runs go on meanwhile"
    assert len(begun.read_text().split()) == 4
    assert len(owed(root)) == 7
    assert root.call("gc", "--keep-runs", "0", "--yes").code == 0
    assert len(root.manifests()) == 7, "gc leaves them alone"
    root.write("release", "")
    wait_until(lambda: owed(root) == [], "all have ended")
    assert len(begun.read_text().split()) == 7
    root.call("stop")
    root.finish(server)
    root.check_settled(count=7)


def test_a_supervisor_that_is_told_to_end_gives_hooks_a_moment_and_leaves_the_rest(
    root: Root,
) -> None:
    hold = "echo begun >> begun; trap '' TERM; while ! test -e release; do sleep 0.05; done"
    root.configure(PIPELINES, settings=f'on_finish = "{hold}"')
    server = root.serving()
    for _ in range(5):
        make(root)
    begun = root.path / "begun"
    wait_until(lambda: begun.exists() and len(begun.read_text().split()) == 4, "four run")
    began = time.monotonic()
    server.send_signal(signal.SIGTERM)
    root.finish(server)
    assert time.monotonic() - began < 30
    assert not alive(f"SUPERVISED_ROOT={root.path}")
    assert len(owed(root)) >= 1, "what had not begun waits for the next start"
    root.configure(PIPELINES)
    root.write("release", "")
    assert root.call("start", "--once").code == 0
    assert len((root.path / "begun").read_text().split()) == 5, "those that were asked for, once"
    assert owed(root) == []
    root.check_settled(count=5)


def test_a_hook_that_ran_when_the_supervisor_was_killed_is_not_started_again(root: Root) -> None:
    hold = "echo begun >> begun; while :; do sleep 0.05; done"
    root.configure(PIPELINES, settings=f'on_success = "{hold}"\non_finish = "echo f >> begun"')
    server = root.serving()
    make(root)
    begun = root.path / "begun"
    wait_until(begun.exists, "it runs")
    wait_until(lambda: "process" in hook(root, "on_success"), "who it is, is told")
    server.kill()
    server.wait()
    assert root.call("start", "--once").code == 0
    record = hook(root, "on_success")
    assert record["status"] == "interrupted"
    assert begun.read_text().split() == ["begun", "f"]
    wait_until(lambda: not alive(f"SUPERVISED_ROOT={root.path}"), "the old one is ended")
    assert owed(root) == []
    assert list(verify(root.layout)) == []


def test_a_run_whose_directory_is_gone_owes_nothing(root: Root) -> None:
    root.configure(PIPELINES)
    assert root.call("start", "--once", "good").code == 0
    (manifest,) = root.manifests()
    markers = Path(root.layout.hooks)
    markers.mkdir(mode=0o700)
    (markers / manifest["run_id"]).write_text("default\n")
    (markers / "2020-01-01T00-00-00-000Z-00000000").write_text("default\n")
    (markers / "2020-01-01T00-00-00-000Z-00000001").write_text("")
    kill_all(str(root.path))
    assert root.call("start", "--once").code == 0
    assert owed(root) == []


def test_without_hooks_nothing_is_made(root: Root) -> None:
    root.configure(PIPELINES)
    assert root.call("start", "--once", "good").code == 0
    assert not Path(root.layout.hooks).exists()
    assert not list((root.path / ".runs").glob("*/cli/*/hooks"))


def test_reports_tell_what_became_of_hooks(root: Root) -> None:
    ill = "echo no '<b>mail</b>' today >&2; exit 7"
    root.configure(
        PIPELINES,
        settings=f'on_success = ["/nowhere/mailer"]\non_finish = {json.dumps(ill)}',
    )
    done = root.call("start", "--once", "good")
    assert "its on_success hook was not started (/nowhere/mailer: No such file" in done.err
    shown = root.call("show", "latest").out
    assert "/nowhere/mailer: No such file or directory" in shown
    assert "on_finish   failed       0." in shown
    assert "  output | no <b>mail</b> today" in shown
    tree = root.call("status", "latest")
    assert tree.code == 0, "what a hook does changes nothing of its run"
    assert "hook on_finish failed: exit code 7: no <b>mail</b> today" in tree.out
    assert "hook on_success not-started: /nowhere/mailer" in tree.out
    for facts in (
        root.call("show", "latest", "--json").json(),
        root.call("status", "latest", "--json").json()["runs"][0],
    ):
        assert [(h["hook"], h["status"], h["exit_code"]) for h in facts["hooks"]] == [
            ("on_success", "not-started", None),
            ("on_finish", "failed", 7),
        ]
    page = root.call("report", "latest", "-o", "-").out
    assert "<h2>Hooks</h2>" in page
    assert "no &lt;b&gt;mail&lt;/b&gt; today" in page


def test_of_hooks_that_went_well_only_the_record_tells(root: Root) -> None:
    root.configure(PIPELINES, settings='on_finish = "echo told them"')
    root.call("start", "--once", "good")
    assert "on_finish  succeeded  0." in root.call("show", "latest").out
    assert "told them" in root.call("show", "latest").out
    assert "hook" not in root.call("status", "latest").out
    root.configure(PIPELINES)
    root.call("run", "good")
    assert "HOOK" not in root.call("show", "latest").out
    assert root.call("show", "latest", "--json").json()["hooks"] == []


def test_a_hooks_long_line_is_cut_where_a_line_is_shown(root: Root) -> None:
    root.configure(PIPELINES, settings="on_finish = 'printf %05000d 7; exit 1'")
    root.call("start", "--once", "good")
    (line,) = [x for x in root.call("status", "latest").out.splitlines() if "on_finish" in x]
    assert len(line) < 400


@pytest.mark.parametrize("content", ["", "[]", '{"status": 3}', '{"status": "failed"', "\0"])
def test_a_damaged_record_of_a_hook_is_named_and_ends_no_reader(root: Root, content: str) -> None:
    root.configure(PIPELINES, settings='on_finish = "true"')
    root.call("start", "--once", "good")
    (path,) = (root.path / ".runs").glob("*/cli/*/hooks/on_finish.json")
    path.write_text(content)
    assert "hook on_finish unreadable" in root.call("status", "latest").out
    assert root.call("show", "latest").code == 0
    assert "unreadable" in root.call("report", "latest", "-o", "-").out
