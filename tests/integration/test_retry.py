"""A retry reuses succeeded stages, names their run, and runs the rest; every reader agrees."""

from typing import Any

import pytest

from tests.root import Root, wait_until

PIPELINES = """
[pipelines.p.params.word]
default = "w"
[[pipelines.p.stages]]
id = "one"
command = "echo one >> marks"
[[pipelines.p.stages]]
id = "two"
command = "echo two >> marks; test -e mended"
[[pipelines.p.stages]]
id = "three"
command = ["sh", "-c", 'echo three $1 >> marks', "x", "{param.word}"]
"""


def marks(root: Root) -> list[str]:
    return (root.path / "marks").read_text().splitlines()


def manifest_of(root: Root, run_id: str) -> dict[str, Any]:
    (found,) = [m for m in root.manifests() if m["run_id"] == run_id]
    return found


@pytest.fixture
def failed(root: Root) -> str:
    root.configure(PIPELINES)
    assert root.call("run", "p", "--param", "word=given").code == 10
    return str(root.manifests()[0]["run_id"])


def test_retry_reuses_succeeded_stages_and_runs_the_rest(root: Root, failed: str) -> None:
    root.write("mended", "")
    root.configure("")  # what was asked counts, not what is configured by now
    new = root.call("retry", "latest", "--json").json()
    assert (new["retry_of"], new["kept"]) == (failed, ["one"])
    assert root.call("start", "--once").code == 0
    assert marks(root) == ["one", "two", "two", "three given"]
    manifest = manifest_of(root, new["run_id"])
    assert [c["status"] for c in manifest["commands"]] == ["succeeded"] * 3
    first = manifest["commands"][0]
    assert (first["summary"], first["log_path"]) == (f"kept from run {failed}", None)
    extensions = manifest["extensions"]
    assert (extensions["retry_of"], extensions["kept"]) == (failed, {"one": failed})
    assert extensions["stages"][0]["tries"] == 0
    assert extensions["params"] == {"word": "given"}
    assert root.call("wait", new["run_id"]).code == 0
    assert root.call("status", new["run_id"]).code == 0
    shown = root.call("show", new["run_id"]).out
    assert f"kept from run {failed}" in shown
    assert f"retry of  {failed}" in shown
    assert f"kept from run {failed}" in root.call("status", new["run_id"]).out
    logs = root.call("logs", new["run_id"], "one")
    assert (logs.code, f"supervisor logs {failed} one" in logs.err) == (0, True)
    (line,) = [n for n in root.history() if n["runId"] == new["run_id"]]
    assert line["stages"]["succeeded"] == 3
    root.check_settled(count=2)


def test_retry_of_a_retry_names_the_run_that_ran_the_stage(root: Root, failed: str) -> None:
    second = root.call("retry", failed).out.strip()
    assert root.call("start", "--once").code == 10
    root.write("mended", "")
    third = root.call("retry", second).out.strip()
    assert root.call("start", "--once").code == 0
    extensions = manifest_of(root, third)["extensions"]
    assert (extensions["retry_of"], extensions["kept"]) == (second, {"one": failed})
    assert marks(root) == ["one", "two", "two", "two", "three given"]


def test_retry_from_a_stage_runs_it_and_all_later_ones(root: Root, failed: str) -> None:
    root.write("mended", "")
    good = root.call("retry", failed).out.strip()
    assert root.call("start", "--once").code == 0
    again = root.call("retry", good, "--from", "two").out.strip()
    assert root.call("start", "--once").code == 0
    assert manifest_of(root, again)["extensions"]["kept"] == {"one": failed}
    assert marks(root)[-2:] == ["two", "three given"]
    whole = root.call("retry", good, "--from", "one", "--json").json()
    assert whole["kept"] == []


def test_active_and_succeeded_runs_are_not_retried(root: Root) -> None:
    root.configure(PIPELINES)
    queued = root.call("submit", "p").out.strip()
    done = root.call("retry", queued)
    assert (done.code, "is queued and has not ended" in done.err) == (2, True)
    process = root.serving()
    live = root.call("submit", "--", "sleep", "30").out.strip()
    wait_until(lambda: root.stages(), "it runs")
    root.wait_for_status(live, "in_progress")
    done = root.call("retry", live)
    assert (done.code, "is in_progress and has not ended" in done.err) == (2, True)
    root.call("cancel", live)
    good = root.call("submit", "--", "true").out.strip()
    assert root.call("wait", good).code == 0
    done = root.call("retry", good)
    assert (done.code, "there is nothing to retry" in done.err) == (2, True)
    done = root.call("retry", good, "--from", "nosuch")
    assert (done.code, "there are: true" in done.err) == (2, True)
    assert root.call("retry", "nosuch").code == 4
    root.call("stop")
    root.finish(process)


def test_cancelled_and_lost_runs_are_retried(root: Root, failed: str) -> None:
    follower = root.call("submit", "--after", failed, "--", "touch", "made").out.strip()
    assert root.call("start", "--once").code == 11
    root.write("mended", "")
    leader = root.call("retry", failed).out.strip()
    again = root.call("retry", follower).out.strip()
    assert root.call("start", "--once").code == 0
    assert (root.path / "made").exists()
    assert manifest_of(root, again)["extensions"]["after"] == [leader]


def test_a_succeeded_sub_pipeline_is_reused(root: Root) -> None:
    root.configure(
        PIPELINES
        + """
[pipelines.q]
stages = [{ id = "sub", pipeline = "c" }, { id = "s", command = "test -e mended" }]
"""
        + '[pipelines.c]\nstages = [{ id = "s", command = "echo c >> marks" }]\n'
    )
    assert root.call("run", "q").code == 10
    root.write("mended", "")
    (old,) = [m["run_id"] for m in root.manifests() if m["pipeline_id"] == "q"]
    new = root.call("retry", old).out.strip()
    assert root.call("start", "--once").code == 0
    assert marks(root) == ["c"]
    manifest = manifest_of(root, new)
    assert (manifest["child_runs"], manifest["extensions"]["kept"]) == ([], {"sub": old})
    root.check_settled(count=3)


def test_retry_from_a_stage_of_a_graph_runs_it_and_its_dependents(root: Root) -> None:
    stages = [
        '{ id = "a", command = "echo a >> marks", needs = [] }',
        '{ id = "b", command = "echo b >> marks", needs = [] }',
        '{ id = "c", command = "echo c >> marks", needs = ["a"] }',
        '{ id = "d", command = "echo d >> marks", needs = ["c"] }',
    ]
    root.configure(f"[pipelines.g]\nstages = [{', '.join(stages)}]\n")
    assert root.call("run", "g").code == 0
    root.write("marks", "")
    new = root.call("retry", "latest", "--from", "a", "--json").json()
    assert new["kept"] == ["b"]
    assert root.call("start", "--once").code == 0
    assert marks(root) == ["a", "c", "d"]
    root.check_settled(count=2)


@pytest.mark.fault("C32")
def test_a_chain_of_retried_runs_keeps_its_order(root: Root) -> None:
    root.configure(
        """
[pipelines.build]
stages = [{ id = "s", command = "echo build >> marks; test -e mended" }]
[pipelines.test]
stages = [{ id = "s", command = "echo test >> marks" }]
[pipelines.deploy]
stages = [{ id = "s", command = "echo deploy >> marks" }]
"""
    )
    build = root.call("submit", "build").out.strip()
    test = root.call("submit", "--after", build, "test").out.strip()
    deploy = root.call("submit", "--after", test, "--after", build, "deploy").out.strip()
    assert root.call("start", "--once").code == 10
    refused = root.call("retry", deploy)
    assert refused.code == 2
    assert f"depends on {test}, which did not succeed" in refused.err
    root.write("mended", "")
    again = [root.call("retry", run_id).out.strip() for run_id in (build, test, deploy)]
    assert root.call("start", "--once").code == 0
    assert marks(root) == ["build", "build", "test", "deploy"]
    assert manifest_of(root, again[1])["extensions"]["after"] == [again[0]]
    assert manifest_of(root, again[2])["extensions"]["after"] == [again[1], again[0]]


@pytest.mark.fault("C32")
def test_retry_depends_on_the_succeeded_run(root: Root) -> None:
    root.configure(PIPELINES)
    first = root.call("submit", "--", "true").out.strip()
    second = root.call("submit", "--after", first, "p").out.strip()
    assert root.call("start", "--once").code == 10
    assert root.call("gc", "--keep-runs", "1", "--yes").code == 0
    root.write("mended", "")
    root.call("retry", second)
    assert root.call("start", "--once").code == 0
