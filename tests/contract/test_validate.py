"""The command line with the corpus: exit status 78, one clear message, nothing created."""

from pathlib import Path

import pytest

from supervisor.cli import run
from tests.contract.corpus_cases import CASES, Case
from tests.root import LAUNCHER, Root


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.file, marks=pytest.mark.fault(*case.rows)) for case in CASES],
)
def test_validate_exits_78_and_creates_nothing(
    case: Case,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    case.lay_out(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    for name, text in case.environ.items():
        monkeypatch.setenv(name, text)
    before = sorted(tmp_path.rglob("*"))
    code = run(["validate", "--root", str(tmp_path), *case.arguments(tmp_path)])
    printed = capsys.readouterr()
    assert (code, printed.out) == (78, "")
    case.check(printed.err, tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.fault("C2")
@pytest.mark.parametrize(
    "words",
    [
        ["start", "--once", "--batch", "config/batches/bad.toml"],
        ["run", "good"],
        ["submit", "good"],
        ["plan", "good"],
    ],
)
def test_every_verb_refuses_an_invalid_configuration_and_creates_nothing(
    root: Root, words: list[str]
) -> None:
    root.write("config/supervisor.toml", "[supervisor]\nmax_rnus = 3\n[pipelines.good]\n")
    before = sorted(root.path.rglob("*"))
    done = root.call(*words)
    assert done.code == 78
    assert "supervisor.max_rnus" in done.err
    assert "did you mean 'max_runs'" in done.err
    assert "pipelines.good.stages" in done.err
    assert sorted(root.path.rglob("*")) == before


def test_an_unknown_pipeline_is_a_usage_error_that_names_the_nearest(root: Root) -> None:
    root.configure('[pipelines.lint]\nstages = [{ id = "s", command = "true" }]\n')
    done = root.call("run", "lnt")
    assert (done.code, "did you mean 'lint'" in done.err) == (2, True)


def test_validate_lists_the_pipelines(root: Root) -> None:
    root.configure('[pipelines.lint]\nstages = [{ id = "s", command = "true" }]\n')
    done = root.call("validate", "--json")
    assert (done.code, done.json()["pipelines"]) == (0, ["lint"])


def test_plan_shows_what_would_run_and_creates_nothing(root: Root) -> None:
    root.configure(
        "[pipelines.a]\nresources = { slot = 1, gpu = 0.5 }\n"
        'stages = [{ id = "s", command = ["echo", "x"], timeout_s = 5, nice = 9 },'
        ' { id = "b", pipeline = "b" }]\n'
        '[pipelines.b]\nstages = [{ id = "t", command = "true" }]\n'
    )
    done = root.call("plan", "a")
    assert done.code == 0
    for part in ("1. s: echo x", "at most 5 s; nice 9", "2. b: pipeline b", "1. t: true"):
        assert part in done.out
    taken = f"  takes slot=1, gpu=0.5 of its host (not reserved by launcher {LAUNCHER})"
    assert done.out.splitlines()[1] == taken
    assert root.call("plan", "a", "--json").json()["pipeline"]["id"] == "a"
    assert not (root.path / ".runs").exists()
