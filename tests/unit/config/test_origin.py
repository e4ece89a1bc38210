"""A configuration of the origin is read as it is."""

import json
from pathlib import Path
from typing import Any

from supervisor.config.catalog import Catalog, load_catalog
from workers.records.spec import StageKind

CONFIG: dict[str, Any] = {
    "defaultPipeline": "diagnostics",
    "runtimeMode": "cli",
    "stageSets": {
        "checks": [
            {
                "kind": "command",
                "id": "build",
                "title": "npm run build",
                "command": "npm run build",
            },
            {
                "kind": "command",
                "id": "test",
                "command": "npm run test",
                "cwd": "packages/a",
                "env": {"NOTES": "", "DEBUG": True, "LEVEL": 2},
                "timeoutMs": 1500,
                "allowFailure": True,
                "summaryHint": "advisory",
                "session": {"id": "x"},
            },
        ]
    },
    "pipelines": [
        {
            "id": "diagnostics",
            "title": "Diagnostics",
            "description": "All",
            "tags": ["a"],
            "guardrailsRequired": False,
            "metadata": {"x": 1},
            "stages": [
                {"kind": "stage-set", "ref": "checks"},
                {"kind": "subpipeline", "id": "docs", "pipeline": "docs", "optional": True},
            ],
        },
        {"id": "docs", "stages": [{"kind": "command", "id": "docs", "command": "true"}]},
    ],
}


def read(config: dict[str, Any], root: Path) -> Catalog:
    (root / "codex.orchestrator.json").write_text(json.dumps(config))
    return load_catalog(str(root), None)


def test_stage_sets_are_expanded_and_every_key_arrives(tmp_path: Path) -> None:
    catalog = read(CONFIG, tmp_path)
    pipeline, below = catalog.resolve("diagnostics")
    assert (pipeline.title, pipeline.description, pipeline.tags) == ("Diagnostics", "All", ("a",))
    assert [stage.id for stage in pipeline.stages] == ["build", "test", "docs"]
    test = pipeline.stages[1]
    assert (test.command, test.cwd, test.timeout_s) == ("npm run test", "packages/a", 1.5)
    assert test.env == (("NOTES", ""), ("DEBUG", "true"), ("LEVEL", "2"))
    assert (test.allow_failure, test.summary_hint) == (True, "advisory")
    docs = pipeline.stages[2]
    assert (docs.kind, docs.pipeline, docs.allow_failure) == (StageKind.SUBPIPELINE, "docs", True)
    assert [item.id for item in below] == ["docs"]
    assert catalog.default == "diagnostics"


def test_ignored_keys_are_reported_in_one_notice(tmp_path: Path) -> None:
    (notice,) = read(CONFIG, tmp_path).notices
    for key in ("runtimeMode", "guardrailsRequired", "metadata", "session"):
        assert key in notice


def test_stages_of_a_set_used_twice_get_distinct_ids(tmp_path: Path) -> None:
    twice = [{"kind": "stage-set", "ref": "checks"}] * 2
    config = {**CONFIG, "defaultPipeline": "p", "pipelines": [{"id": "p", "stages": twice}]}
    pipeline, _ = read(config, tmp_path).resolve("p")
    ids = [stage.id for stage in pipeline.stages]
    assert len({name.lower() for name in ids}) == 4
    assert ids[:2] == ["build", "test"]


def test_project_file_overrides_the_origins_pipelines(tmp_path: Path) -> None:
    (tmp_path / "codex.orchestrator.json").write_text(json.dumps(CONFIG))
    project = tmp_path / "s.toml"
    project.write_text('[pipelines.own]\n[[pipelines.own.stages]]\nid = "s"\ncommand = "true"\n')
    assert list(load_catalog(str(tmp_path), str(project)).pipelines) == ["own"]
    project.write_text("[supervisor]\nmax_runs = 3\n")
    assert "diagnostics" in load_catalog(str(tmp_path), str(project)).pipelines
