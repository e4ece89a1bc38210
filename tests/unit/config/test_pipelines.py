"""Every key of a pipeline arrives in the spec, in order."""

from pathlib import Path

import pytest

from supervisor.config.batches import load_batch
from supervisor.config.catalog import EMPTY, Catalog, load_catalog
from supervisor.errors import UsageError
from workers.records.spec import RetrySpec, StageKind

FULL = """
[pipelines.build]
title = "Build"
description = "All of it"
tags = ["a", "b"]
env = { A = "1" }
cwd = "src"
timeout_s = 60
resources = { slot = 1, gpu = 0.5 }
[[pipelines.build.stages]]
id = "lint"
title = "Lint"
command = ["ruff", "check", ""]
cwd = "../elsewhere"
env = { B = "2" }
timeout_s = 1.5
allow_failure = true
success_exit_codes = [0, 3]
summary_hint = "see lint.txt"
retries = { attempts = 3, delay_s = 0.5, factor = 3.0, max_delay_s = 9.0, on_exit_codes = [75] }
[[pipelines.build.stages]]
id = "shell"
command = "echo $(id); true"
[[pipelines.build.stages]]
id = "docs"
pipeline = "docs"
optional = true
[pipelines.docs]
[[pipelines.docs.stages]]
id = "site"
pipeline = "site"
[pipelines.site]
[[pipelines.site.stages]]
id = "s"
command = "true"
"""


def catalog_of(text: str, root: Path) -> Catalog:
    path = root / "config" / "supervisor.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return load_catalog(str(root), str(path))


def edition(root: Path, key: str = "") -> str:
    path = root / "batch.toml"
    path.write_text(
        '[[runs]]\npipeline = "a"\ncount = 2\n[pipelines.a]\n[[pipelines.a.stages]]\nid = "s"\n'
        f'command = "true"\nretries = {{ attempts = 2 }}\n{key}'
    )
    return load_batch(str(path), root=str(root), catalog=EMPTY).edition


def test_new_keys_do_not_change_the_edition_of_batches_without_them(tmp_path: Path) -> None:
    assert edition(tmp_path) == "9ba946679784356e"  # as of the first release with editions
    assert edition(tmp_path, "nice = 0") == edition(tmp_path)
    assert edition(tmp_path, "nice = 1") != edition(tmp_path)


def test_every_key_of_a_pipeline_arrives(tmp_path: Path) -> None:
    build, _ = catalog_of(FULL, tmp_path).resolve("build")
    assert (build.title, build.description, build.tags) == ("Build", "All of it", ("a", "b"))
    assert (build.env, build.cwd, build.timeout_s) == ((("A", "1"),), "src", 60.0)
    assert build.resources == (("slot", 1), ("gpu", 0.5))
    assert isinstance(build.resources[0][1], int), "an engine may want whole numbers"
    lint = build.stages[0]
    assert (lint.id, lint.title, lint.kind) == ("lint", "Lint", StageKind.COMMAND)
    assert lint.command == ("ruff", "check", "")
    assert (lint.cwd, lint.env, lint.timeout_s) == ("../elsewhere", (("B", "2"),), 1.5)
    assert (lint.allow_failure, lint.success_exit_codes) == (True, (0, 3))
    assert lint.summary_hint == "see lint.txt"
    assert lint.retries == RetrySpec(
        attempts=3, delay_s=0.5, factor=3.0, max_delay_s=9.0, on_exit_codes=(75,)
    )


def test_command_is_unchanged(tmp_path: Path) -> None:
    build, _ = catalog_of(FULL, tmp_path).resolve("build")
    assert build.stages[1].command == "echo $(id); true"
    assert build.stages[1].retries == RetrySpec()
    assert build.stages[1].title == "shell"


def test_pipeline_resolves_to_everything_it_can_reach(tmp_path: Path) -> None:
    catalog = catalog_of(FULL, tmp_path)
    build, below = catalog.resolve("build")
    assert sorted(pipeline.id for pipeline in below) == ["docs", "site"]
    assert (build.stages[2].kind, build.stages[2].pipeline) == (StageKind.SUBPIPELINE, "docs")
    assert build.stages[2].allow_failure
    assert catalog.resolve("site")[1] == ()


def test_an_unknown_pipeline_is_a_usage_error_that_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'build'"):
        catalog_of(FULL, tmp_path).resolve("biuld")


def test_shared_sub_pipeline_is_no_circle(tmp_path: Path) -> None:
    text = "".join(
        f'[pipelines.p{n}]\n[[pipelines.p{n}.stages]]\nid = "a"\npipeline = "p{n + 1}"\n'
        f'[[pipelines.p{n}.stages]]\nid = "b"\npipeline = "p{n + 1}"\n'
        for n in range(30)
    )
    text += '[pipelines.p30]\n[[pipelines.p30.stages]]\nid = "s"\ncommand = "true"\n'
    _, below = catalog_of(text, tmp_path).resolve("p0")
    assert len(below) == 30


def test_a_chain_of_a_thousand_sub_pipelines_is_read(tmp_path: Path) -> None:
    text = "".join(
        f'[pipelines.p{n}]\n[[pipelines.p{n}.stages]]\nid = "a"\npipeline = "p{n + 1}"\n'
        for n in range(1000)
    )
    text += '[pipelines.p1000]\n[[pipelines.p1000.stages]]\nid = "s"\ncommand = "true"\n'
    assert len(catalog_of(text, tmp_path).resolve("p0")[1]) == 1000


def test_batch_has_its_own_pipelines_and_the_projects(tmp_path: Path) -> None:
    catalog = catalog_of(FULL, tmp_path)
    path = tmp_path / "b.toml"
    path.write_text(
        '[[runs]]\npipeline = "own"\ntask = "t"\ncount = 10000\n[[runs]]\npipeline = "site"\n'
        '[pipelines.own]\n[[pipelines.own.stages]]\nid = "s"\npipeline = "build"\n'
    )
    batch = load_batch(str(path), root=str(tmp_path), catalog=catalog)
    assert [(run.pipeline, run.task, run.count) for run in batch.runs] == [
        ("own", "t", 10000),
        ("site", None, 1),
    ]
    assert sorted(p.id for p in batch.catalog.resolve("own")[1]) == ["build", "docs", "site"]


def test_batch_needs_no_project(tmp_path: Path) -> None:
    path = tmp_path / "b.toml"
    path.write_text(
        '[[runs]]\npipeline = "own"\n[pipelines.own]\n[[pipelines.own.stages]]\nid = "s"\n'
        'command = "true"\n'
    )
    batch = load_batch(str(path), root=str(tmp_path), catalog=load_catalog(str(tmp_path), None))
    assert list(batch.catalog.pipelines) == ["own"]


def test_configuration_of_this_project_is_valid() -> None:
    root = Path(__file__).parents[3]
    project = root / "config" / "supervisor.toml"
    catalog = load_catalog(str(root), str(project))
    path = root / "config" / "batches" / "diagnostics.toml"
    batch = load_batch(str(path), root=str(root), catalog=catalog)
    assert len(batch.runs) == 4
    assert {run.task for run in batch.runs} == {"diagnostics"}
    for run in batch.runs:
        pipeline, _ = batch.catalog.resolve(run.pipeline)
        assert pipeline.title != pipeline.id
        assert all(stage.timeout_s for stage in pipeline.stages)
