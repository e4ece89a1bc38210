"""Reading the tree of a run."""

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import pytest

from supervisor.report.html import run_page
from supervisor.report.read.run_tree import read_tree
from supervisor.report.terminal.run_tree_text import run_tree_lines
from tests.operations import operations_of
from workers.records.atomic import to_bytes
from workers.records.journal import Event, Fact
from workers.records.layout import Layout
from workers.records.spec import PipelineSpec, RunSpec, StageSpec

TASK = "t"


def fact(seq: int, event: Event, **data: object) -> bytes:
    return Fact(
        seq=seq,
        at=f"2025-10-31T22:56:{seq % 60:02}.000Z",
        mono_s=float(seq),
        event=event,
        by="worker",
        data=MappingProxyType(data),
    ).to_line()


def written(root: Path, count: int) -> tuple[Layout, str]:
    """Write the spec and the journal of a run whose stages have all succeeded, but for the last."""
    layout, run_id = Layout(str(root)), f"2025-10-31T22-56-34-431Z-{count:08x}"
    names = [f"s{number}" for number in range(count)]
    spec = RunSpec(
        run_id=run_id,
        task_id=TASK,
        pipeline=PipelineSpec(
            id="p", title="p", stages=tuple(StageSpec(id=n, title=n, command="true") for n in names)
        ),
        asked_by="submit",
        asked_at="2025-10-31T22:56:00.000Z",
        resume_token="",
    )
    lines = [fact(1, Event.RUN_STARTED, identity=None)]
    for index, name in enumerate(names, 1):
        about = {"stage": name, "index": index, "try": 1}
        lines.append(fact(len(lines) + 1, Event.STAGE_STARTED, **about))
        if index < count:
            lines.append(fact(len(lines) + 1, Event.STAGE_ENDED, **about, status="succeeded"))
    run = layout.run_dir(TASK, run_id)
    Path(run.path).mkdir(parents=True)
    Path(run.spec).write_bytes(to_bytes(spec.to_json()))
    Path(run.journal).write_bytes(b"".join(lines))
    return layout, run_id


Show = Callable[[Layout, str], object]


@pytest.mark.fault("V11")
@pytest.mark.parametrize(
    "show",
    [
        lambda layout, run_id: list(run_tree_lines(layout, read_tree(layout, TASK, run_id))),
        lambda layout, run_id: run_page.page(layout, read_tree(layout, TASK, run_id)),
    ],
    ids=["status", "report"],
)
def test_showing_a_run_costs_operations_in_proportion_to_its_stages(
    tmp_path: Path, show: Show
) -> None:
    def work_for(count: int) -> int:
        layout, run_id = written(tmp_path, count)
        return operations_of(lambda: show(layout, run_id))

    assert work_for(400) < 2.2 * work_for(200)


def test_stage_of_sequential_pipeline_needs_the_one_before(tmp_path: Path) -> None:
    layout, run_id = written(tmp_path, 3)
    stages = read_tree(layout, TASK, run_id).stages
    assert [stage.needs for stage in stages] == [(), ("s0",), ("s1",)]
    assert [stage.status for stage in stages] == ["succeeded", "succeeded", "running"]
