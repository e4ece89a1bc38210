"""Many requests and large configurations: queued on disk, read whole, or refused by a limit."""

from pathlib import Path

import pytest

from tests.root import Root
from workers.records.layout import Layout

STAGES = 10_000
# Counts, as each stage begins, how many are at work; the marks are outside the root.
COUNTING = (
    'touch "{d}/$SUPERVISED_RUN_ID"; ls "{d}" | wc -l >> "{d}.counts"; rm "{d}/$SUPERVISED_RUN_ID"'
)


@pytest.mark.fault("V3")
@pytest.mark.parametrize(
    ("count", "limit"),
    [(40, 3), pytest.param(1000, 20, marks=[pytest.mark.slow, pytest.mark.timeout(600)])],
)
def test_requests_queue_on_disk_and_no_more_than_max_runs_live(
    root: Root, tmp_path: Path, count: int, limit: int
) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    command = COUNTING.format(d=marks).replace('"', '\\"')
    root.configure(
        f'[pipelines.p]\nstages = [{{ id = "s", command = "{command}" }}]\n',
        f"max_runs = {limit}",
    )
    root.write("batch.toml", f'[[runs]]\npipeline = "p"\ncount = {count}\n')
    process = root.popen("start", "--once", "--batch", "batch.toml")
    process.communicate(timeout=500)  # a thousand workers take minutes of a busy machine
    assert process.returncode == 0
    counts = [int(text) for text in (tmp_path / "marks.counts").read_text().split()]
    assert len(counts) == count
    assert max(counts) <= limit
    root.check_settled(count=count)


def large(root: Root, stages_count: int, padding: str = "") -> None:
    stages = [
        f'[[pipelines.big.stages]]\nid = "s{number:05d}"\ncommand = "true"\n{padding}'
        for number in range(stages_count)
    ]
    root.configure("".join(stages))


@pytest.mark.fault("V11")
def test_ten_thousand_stages_are_read_and_shown(root: Root) -> None:
    large(root, STAGES)
    assert root.call("validate").code == 0
    shown = root.call("plan", "big")
    assert shown.code == 0
    assert f"{STAGES}. s{STAGES - 1:05d}: true" in shown.out
    assert root.call("submit", "big").code == 0
    (marked,) = root.call("status").out.splitlines()[2:]
    assert "queued" in marked


@pytest.mark.fault("V11")
def test_more_than_a_mebibyte_of_configuration_is_refused_by_its_limit(root: Root) -> None:
    large(root, STAGES, f'title = "{"x" * 60}"\n')
    for words in (("validate",), ("start", "--once", "big"), ("doctor",)):
        done = root.call(*words)
        assert done.code == 78, done
        assert "larger than 1048576 bytes" in done.err
    assert not Path(Layout(str(root.path)).runs).exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.fault("V11")
def test_a_run_of_three_thousand_stages_succeeds(root: Root) -> None:
    large(root, 3_000)
    process = root.popen("start", "--once", "big")
    process.communicate(timeout=500)
    assert process.returncode == 0
    (manifest,) = root.manifests()
    assert {command["status"] for command in manifest["commands"]} == {"succeeded"}
    root.check_settled(count=1)
