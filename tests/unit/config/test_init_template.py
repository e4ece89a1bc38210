"""A first configuration holds the project's own checks, as far as they can run here."""

import tomllib
from pathlib import Path

import pytest

from supervisor.config.catalog import load_catalog
from supervisor.config.init_template import BATCH, starter_for

CONFIG = "config/supervisor.toml"


def everything(name: str) -> str:
    return f"/usr/bin/{name}"


def commands(root: Path, missing: str = "") -> dict[str, list[str]]:
    """The stages of what is written, held to be a configuration."""
    starter = starter_for(str(root), lambda name: None if name == missing else everything(name))
    path = root / CONFIG
    path.parent.mkdir(exist_ok=True)
    path.write_text(starter.files[CONFIG])
    load_catalog(str(root), str(path))
    stages = tomllib.loads(starter.files[CONFIG])["pipelines"]["checks"]["stages"]
    return {stage["id"]: stage["command"] for stage in stages}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {"pyproject.toml": "[tool.ruff]\n[tool.pytest.ini_options]\n", "mypy.ini": ""},
            {"lint": ["ruff", "check", "."], "types": ["mypy", "."], "test": ["pytest", "-q"]},
        ),
        (
            {"pyproject.toml": "[dependency-groups]\na = [{include-group = 'b'}, 'PyTest >= 8']\n"},
            {"test": ["pytest", "-q"]},
        ),
        (
            {"pyproject.toml": "[project.optional-dependencies]\na = ['ruff[x]; y']\nb = 1\n"},
            {"lint": ["ruff", "check", "."]},
        ),
        (
            {"package.json": '{"scripts": {"test": "jest", "start": "x", "lint": "eslint"}}'},
            {"lint": ["npm", "run", "lint"], "test": ["npm", "run", "test"]},
        ),
        (
            {"package.json": '{"scripts": {"test": "jest"}}', "pnpm-lock.yaml": ""},
            {"test": ["pnpm", "run", "test"]},
        ),
        (
            {"Makefile": "CC := gcc\ntest: build\n\tx\nbuild:\n\ty\nlint:=no\n.PHONY: check\n"},
            {"test": ["make", "test"], "build": ["make", "build"]},
        ),
        (
            {"Cargo.toml": ""},
            {
                "format": ["cargo", "fmt", "--check"],
                "build": ["cargo", "build"],
                "test": ["cargo", "test"],
            },
        ),
        (
            {"go.mod": "", "Makefile": "test:\n"},
            {"vet": ["go", "vet", "./..."], "test": ["go", "test", "./..."]},
        ),
    ],
)
def test_checks_of_a_project_become_stages(
    tmp_path: Path, files: dict[str, str], expected: dict[str, list[str]]
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert commands(tmp_path) == expected


@pytest.mark.parametrize(
    "text",
    ['{"scripts": {"test": "echo \\"Error: no test specified\\" && exit 1"}}', "[]", "{", "\xff"],
)
def test_project_without_checks_gets_an_example(tmp_path: Path, text: str) -> None:
    (tmp_path / "package.json").write_bytes(text.encode("latin-1"))
    (tmp_path / "pyproject.toml").write_text("tool = 1")
    (tmp_path / "Makefile").write_bytes(b"\xff")
    assert set(commands(tmp_path)) == {"hello", "goodbye"}


def test_check_without_its_program_is_left_out_and_reported(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\n[tool.mypy]\n")
    assert set(commands(tmp_path, missing="mypy")) == {"lint"}
    starter = starter_for(str(tmp_path), lambda name: None if name == "mypy" else name)
    assert "'mypy' is not on PATH" in starter.notices[0]


def test_next_file_replaces_a_check_without_its_program(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("")
    (tmp_path / "Makefile").write_text("test:\n")
    assert commands(tmp_path, missing="pytest") == {"test": ["make", "test"]}


def test_the_origins_file_keeps_the_pipelines(tmp_path: Path) -> None:
    (tmp_path / "codex.orchestrator.json").write_text(
        '{"defaultPipeline": "diag", "pipelines": [{"id": "diag", "stages": '
        '[{"kind": "command", "id": "s", "command": "true"}]}]}'
    )
    starter = starter_for(str(tmp_path), everything)
    assert "pipelines" not in tomllib.loads(starter.files[CONFIG])
    assert tomllib.loads(starter.files[BATCH])["runs"][0]["pipeline"] == "diag"
