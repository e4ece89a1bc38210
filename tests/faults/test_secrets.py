"""A canary in the environment is found in no record, log, report or command line of ours."""

import os
from pathlib import Path

import pytest

from tests.root import Root, alive, wait_until

CANARY = "c4n4ry-0123456789"
SECRETS = 'secrets = ["TOKEN"]\n'
TELLS = (
    "printf 'c4n4ry-0123'; sleep 0.3; echo 456789; echo $TOKEN >&2; env; "
    "touch begun; while ! test -e go; do sleep 0.05; done; exit 1"
)


def found_in(root: Root, canary: str) -> list[str]:
    """The files below the root that hold it, their names included."""
    paths = [p for p in root.path.rglob("*") if p.is_file()]
    return [str(p) for p in paths if canary.encode() in p.read_bytes() or canary in str(p)]


@pytest.mark.fault("S1", "S16")
def test_a_secret_is_in_no_record_log_report_or_command_line(root: Root) -> None:
    root.configure(
        f'[pipelines.p]\nstages = [{{ id = "s", command = "{TELLS}" }}]\n', settings=SECRETS
    )
    told = []
    process = root.popen("start", "--once", "p", env={"TOKEN": CANARY})
    wait_until((root.path / "begun").exists, "the stage runs")
    for pid in alive(f"workers\0{root.path}"):
        told.append(Path(f"/proc/{pid}/cmdline").read_text())
    told.append(Path(f"/proc/{process.pid}/cmdline").read_text())
    assert len(told) == 2
    root.write("go", "")
    done = root.finish(process)
    assert done.code == 10
    for words in (["status"], ["show", "latest"], ["logs", "latest"], ["wait", "latest"]):
        shown = root.call(*words)
        told += [shown.out, shown.err]
    told += [root.call("show", "latest", "--json").out, done.out, done.err]
    assert not [text for text in told if CANARY in text]
    assert found_in(root, CANARY) == []
    (manifest,) = root.manifests()
    log = root.path / manifest["commands"][0]["log_path"]
    assert log.read_text().startswith("***\n"), "also where it came in two reads"
    assert "TOKEN=***" in log.read_text()


@pytest.mark.fault("S1", "S16")
def test_no_record_but_a_stages_own_output_holds_a_value_of_the_environment(root: Root) -> None:
    done = root.call("run", "--", "sh", "-c", "exit 1", env={"UNNAMED": CANARY})
    assert done.code == 10
    assert root.call("run", "--", "./nothing", env={"UNNAMED": CANARY}).code == 10
    assert found_in(root, CANARY) == []


@pytest.mark.fault("S1")
@pytest.mark.parametrize(
    ("pipeline", "where"),
    [
        ('env = { TOKEN = "x" }\nstages = [{ id = "s", command = "true" }]', "pipelines.p.env"),
        (
            'stages = [{ id = "s", command = "true", env = { TOKEN = "x" } }]',
            "pipelines.p.stages[0].env.TOKEN",
        ),
        (f'stages = [{{ id = "s", command = "curl -H {CANARY}" }}]', "pipelines.p"),
        (f'stages = [{{ id = "s", command = ["true"], title = "{CANARY}" }}]', "pipelines.p"),
    ],
)
def test_a_secret_that_is_written_down_is_refused_before_it_is_kept(
    root: Root, pipeline: str, where: str
) -> None:
    root.configure(f"[pipelines.p]\n{pipeline}\n", settings=SECRETS)
    for verb in (["validate"], ["submit", "p"]):
        done = root.call(*verb, env={"TOKEN": CANARY})
        assert done.code == 78
        assert f"{where}" in done.err
        assert CANARY not in done.err
    root.configure("", settings=SECRETS)
    root.write("b.toml", f'[[runs]]\npipeline = "p"\n[pipelines.p]\n{pipeline}\n')
    assert root.call("validate", "--batch", "b.toml", env={"TOKEN": CANARY}).code == 78
    assert not (root.path / ".runs").exists()


@pytest.mark.fault("S1")
def test_a_secret_in_a_command_line_is_refused_before_it_is_kept(root: Root) -> None:
    root.configure("", settings=SECRETS)
    done = root.call("submit", "--", "curl", f"--key={CANARY}", env={"TOKEN": CANARY})
    assert (done.code, "the secret TOKEN" in done.err, CANARY in done.err) == (2, True, False)
    assert not os.path.lexists(root.layout.runs)
