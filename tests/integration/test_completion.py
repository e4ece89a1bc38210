"""A shell completes verbs, options, pipelines, runs, tasks and files, and shows no errors."""

import shutil
import subprocess
import sys

import pytest

from tests.root import Root

PIPELINES = """
[pipelines.lint]
title = "Lint"
stages = [{ id = "style", command = "true" }, { id = "types", command = "true" }]
[pipelines.lint-all]
stages = [{ id = "s", pipeline = "lint" }]
"""


def offered(root: Root, *words: str, shell: str = "bash") -> list[str]:
    """The values offered for the last argument."""
    env = {
        "_SUPERVISOR_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": " ".join(("supervisor", *words)),
        "COMP_CWORD": str(len(words)),
    }
    done = root.call(env=env)
    assert (done.code, done.err) == (0, "")
    return [line.partition(",")[2] for line in done.out.splitlines() if line]


@pytest.fixture
def filled(root: Root) -> Root:
    root.configure(PIPELINES)
    assert root.call("start", "--once", "lint", "--task", "nightly").code == 0
    return root


def test_matching_values_are_offered(filled: Root) -> None:
    (run,) = [m["run_id"] for m in filled.manifests("nightly")]
    queued = filled.call("submit", "lint").out.strip()
    assert offered(filled, "sta") == ["start", "status"]
    assert offered(filled, "gc", "--keep-r") == ["--keep-runs"]
    assert offered(filled, "plan", "li") == ["lint", "lint-all"]
    assert offered(filled, "start", "--once", "lint-") == ["lint-all"]
    assert offered(filled, "submit", "--task", "n") == ["nightly"]
    assert offered(filled, "show", "") == ["latest", queued, run]
    assert offered(filled, "wait", run, "2") == [queued]
    assert offered(filled, "logs", run, "") == ["style", "types"]
    assert offered(filled, "schema", "man") == ["manifest"]
    assert offered(filled, "completion", "z") == ["zsh"]


def test_completion_reads_the_root_of_the_command_line(filled: Root) -> None:
    other = filled.path / "elsewhere"
    other.mkdir()
    assert offered(filled, "plan", "--root", str(other), "") == []


@pytest.mark.parametrize("text", ["not toml", "[pipelines]\nlint = 1", "pipelines = 3", ""])
def test_completion_offers_what_can_be_read_of_a_wrong_configuration(root: Root, text: str) -> None:
    root.write("config/supervisor.toml", text)
    assert offered(root, "plan", "l") == (["lint"] if "lint" in text else [])


def test_the_origins_pipelines_are_offered(root: Root) -> None:
    (root.path / "config/supervisor.toml").unlink()
    root.write("codex.orchestrator.json", '{"pipelines": [{"id": "diag", "title": "D"}, 3]}')
    assert offered(root, "plan", "") == ["diag"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_valid_for_its_shell(root: Root, shell: str) -> None:
    done = root.call("completion", shell)
    assert done.code == 0
    assert "_SUPERVISOR_COMPLETE" in done.out
    program = shutil.which(shell)
    if program is not None:
        words = [program, "-n"] if shell != "fish" else [program, "--no-execute"]
        subprocess.run(words, input=done.out, text=True, check=True, timeout=30)


def test_bash_itself_completes(filled: Root) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    command = f"{sys.executable} -m supervisor"
    filled.write("bin/supervisor", f'#!/bin/sh\nexec {command} "$@"\n').chmod(0o755)
    script = (
        f'PATH="{filled.path}/bin:$PATH"; eval "$(supervisor completion bash)"; '
        "COMP_WORDS=(supervisor plan lint-); COMP_CWORD=2; _supervisor_completion supervisor; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        [bash, "--norc", "-c", script], cwd=filled.path, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["lint-all"], done.stderr


def test_completing_runs_imports_nothing_slow(filled: Root) -> None:
    script = (
        "import os, sys\nfrom supervisor.cli import run\nrun([])\n"
        "print(sorted({'pydantic', 'rich', 'watchdog', 'psutil'} & set(sys.modules)))"
    )
    env = {"COMP_WORDS": "supervisor show ", "COMP_CWORD": "2", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=filled.path,
        env={**env, "_SUPERVISOR_COMPLETE": "bash_complete"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
    assert "latest" in done.stdout
