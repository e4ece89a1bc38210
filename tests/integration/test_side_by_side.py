"""Needs and slots from the configuration to the manifest."""

import json
import os

from tests.root import Root

DIAMOND = """
[supervisor.slots]
gpu = 1
[pipelines.ship]
[[pipelines.ship.stages]]
id = "build"
command = "exit 1"
needs = []
[[pipelines.ship.stages]]
id = "train"
command = ["true"]
uses = ["gpu"]
needs = []
[[pipelines.ship.stages]]
id = "publish"
command = ["true"]
needs = ["build", "train"]
"""
ONE_AT_A_TIME = """
[supervisor.slots]
bench = 1
[pipelines.bench]
[[pipelines.bench.stages]]
id = "measure"
command = "mkdir ../busy || exit 9; sleep 0.05; rmdir ../busy"
cwd = "work"
uses = ["bench"]
"""


def test_a_failed_need_is_told_in_the_record_and_to_whoever_asks(root: Root) -> None:
    root.configure(DIAMOND)
    assert root.call("run", "ship").code == 10
    (manifest,) = root.manifests()
    told = {command["id"]: command for command in manifest["commands"]}
    assert [c["status"] for c in manifest["commands"]] == ["failed", "succeeded", "pending"]
    assert told["publish"]["summary"] == "not begun: it needs build, which failed"
    assert "needs build" in root.call("status", "latest").out
    assert "needs nothing; uses gpu" in root.call("plan", "ship").out
    shown = json.loads(root.call("plan", "ship", "--json").out)["pipeline"]["stages"]
    assert [stage["needs"] for stage in shown] == [[], [], ["build", "train"]]
    root.check_settled(count=1)


def test_runs_of_a_root_never_share_a_slot(root: Root) -> None:
    root.configure(ONE_AT_A_TIME)
    (root.path / "work").mkdir()
    for _ in range(6):
        assert root.call("submit", "bench").code == 0
    assert root.call("start", "--once").code == 0
    assert {manifest["status"] for manifest in root.manifests()} == {"succeeded"}
    root.check_settled(count=6)


def test_a_slot_that_nobody_declares_is_refused_with_the_nearest(root: Root) -> None:
    root.configure(ONE_AT_A_TIME.replace('uses = ["bench"]', 'uses = ["bnech"]'))
    done = root.call("validate")
    assert done.code == 78
    assert "pipelines.bench.stages[0].uses: there is no slot 'bnech'" in done.err
    assert "did you mean 'bench'?" in done.err
    assert not os.path.lexists(root.layout.runs)
