"""Run specs: resolved whole, with ids of their own."""

from pathlib import Path

import pytest

from supervisor.config.batches import load_batch
from supervisor.config.catalog import Catalog, load_catalog
from supervisor.config.run_specs import RunOptions, SpecBuilder
from supervisor.config.settings import Settings, limits_of
from workers.records.ids import is_run_id
from workers.records.spec import parse_spec
from workers.records.typed_errors import BadIdError

TEXT = '[pipelines.{0}]\n[[pipelines.{0}.stages]]\nid = "s"\n{1}\n'
SETTINGS = Settings(default_task="mine", grace_s=3.0, secrets=["TOKEN"])
ASKING = SpecBuilder(settings=SETTINGS, asked_by="submit")


def catalog(root: Path) -> Catalog:
    path = root / "s.toml"
    path.write_text(TEXT.format("a", 'pipeline = "b"') + TEXT.format("b", 'command = "true"'))
    return load_catalog(str(root), str(path))


def test_spec_contains_everything_a_worker_needs(tmp_path: Path) -> None:
    spec = ASKING.named(catalog(tmp_path), "a", RunOptions())
    assert is_run_id(spec.run_id)
    assert (spec.task_id, spec.asked_by, spec.secrets) == ("mine", "submit", ("TOKEN",))
    assert spec.limits == limits_of(SETTINGS)
    assert [pipeline.id for pipeline in spec.pipelines] == ["b"]
    assert parse_spec(spec.to_json(), "spec.json") == spec


def test_each_run_of_a_batch_has_its_own_id(tmp_path: Path) -> None:
    path = tmp_path / "b.toml"
    path.write_text('[[runs]]\npipeline = "a"\ntask = "t"\ncount = 50\n[[runs]]\npipeline = "b"\n')
    batch = load_batch(str(path), root=str(tmp_path), catalog=catalog(tmp_path))
    specs = list(ASKING.batch(batch, None))
    assert len({spec.run_id for spec in specs}) == len(specs) == 51
    assert [spec.task_id for spec in specs] == ["t"] * 50 + ["mine"]
    assert {spec.batch for spec in specs} == {batch.key}


@pytest.mark.fault("C6")
@pytest.mark.parametrize("task", ["../x", "a/b", ".", "-rf", "a\nb", "x" * 101, "a.lock"])
def test_task_that_cannot_be_a_file_name_is_refused(task: str, tmp_path: Path) -> None:
    with pytest.raises(BadIdError):
        ASKING.named(catalog(tmp_path), "a", RunOptions(task=task))


@pytest.mark.parametrize(
    ("words", "stage_id"),
    [
        (("make", "-j"), "make"),
        (("/usr/bin/python3.11", "x.py"), "python3.11"),
        (("./run me.sh",), "run-me.sh"),
        (("..",), "command"),
        (("./",), "command"),
        (("$(id)",), "command"),
        (("x.lock",), "command"),
        (("\u202eb",), "command"),
    ],
)
def test_stage_of_a_command_is_named_after_its_program(
    words: tuple[str, ...], stage_id: str
) -> None:
    spec = ASKING.command(words, RunOptions())
    assert spec.pipeline.id == "command"
    (stage,) = spec.pipeline.stages
    assert (stage.id, stage.command) == (stage_id, words)
    assert parse_spec(spec.to_json(), "spec.json") == spec
