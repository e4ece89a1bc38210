"""What surrounds us: shell text, variables and modules of others, and a stage that floods."""

import json
import os
import sys
from pathlib import Path

import pytest

from tests.root import Root, wait_until

SCRIPT = Path(sys.executable).with_name("supervisor")


@pytest.mark.fault("S9")
def test_arguments_reach_a_command_as_they_are_and_no_shell_sees_them(root: Root) -> None:
    hostile = ["$(touch pwned)", "; touch pwned", "a\nb", "`touch pwned`", "' \" \\", "*", "-rf"]
    code = "import json, sys; print(json.dumps(sys.argv[1:]))"
    done = root.call("run", "--", sys.executable, "-c", code, *hostile)
    assert json.loads(done.out) == hostile
    root.configure(
        '[pipelines.p]\ntitle = "$(touch pwned)"\n[[pipelines.p.stages]]\nid = "s"\n'
        "title = '`touch pwned`; touch pwned'\nsummary_hint = '$(touch pwned)'\n"
        'command = "echo $SUPERVISED_STAGE_ID \\"$X\\""\nenv = { X = "$(touch pwned)" }\n'
    )
    assert root.call("run", "p").out == "s $(touch pwned)\n"
    for words in (["submit", "$(touch pwned)"], ["submit", "--task", "$(touch x)", "--", "true"]):
        assert root.call(*words).code == 2
    assert not (root.path / "pwned").exists()


@pytest.mark.fault("S10")
def test_variables_of_python_do_not_reach_our_workers_and_do_reach_stages(root: Root) -> None:
    planted = root.path / "planted"
    planted.mkdir()
    note = 'import os\nwith open(os.environ["SEEN"], "a") as f:\n    f.write(f"{os.getpid()}\\n")\n'
    (planted / "sitecustomize.py").write_text(note)
    seen = root.path / "seen"
    env = {"PYTHONPATH": str(planted), "PYTHONSTARTUP": "x", "PYTHONINSPECT": "", "SEEN": str(seen)}
    env |= {"PYTHONHASHSEED": "7"}
    code = "import os; print(os.environ['PYTHONPATH'], os.getpid(), os.getppid())"
    done = root.call("run", "--", sys.executable, "-c", code, env=env)
    assert done.code == 0, done.err
    path, stage, worker = done.out.split()
    assert path == str(planted)
    pids = seen.read_text().split()
    assert stage in pids, "the stage's Python obeys the variable"
    assert worker not in pids, "the worker's does not"


@pytest.mark.fault("S11")
@pytest.mark.skipif(not SCRIPT.exists(), reason="the command is not installed")
def test_modules_and_dot_env_in_the_working_directory_are_not_ours(root: Root) -> None:
    for name in ("psutil", "json", "click", "sitecustomize", "workers", "supervisor"):
        root.write(f"{name}.py", "open('pwned', 'w')\n")
    root.write("workers/__init__.py", "open('pwned', 'w')\n")
    root.write("supervisor/__init__.py", "open('pwned', 'w')\n")
    root.write(".env", "SUPERVISOR_DEFAULT_TASK=pwned\nSUPERVISOR_MAX_RUNS=zero\n")
    code = f"exec {SCRIPT} run -- true"
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SUPERVIS", "PYTHON"))}
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", f"cd {root.path} && {code}"], clean)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert not (root.path / "pwned").exists()
    assert not (root.path / "out/pwned").exists()
    wait_until(lambda: os.listdir(root.layout.accepted) == [], "it is settled")
    assert root.manifests()[0]["status"] == "succeeded"


@pytest.mark.fault("S15", "V4")
def test_a_stage_that_floods_fills_no_disk_through_our_records(root: Root) -> None:
    flood = "yes spam | head -c 5000000; yes spam | head -c 5000000 >&2; exit 1"
    root.configure(
        "[pipelines.p]\n"
        + "".join(
            f'[[pipelines.p.stages]]\nid = "s{n}"\nallow_failure = true\ncommand = "{flood}"\n'
            "retries = { attempts = 2, delay_s = 0 }\n"
            for n in range(3)
        )
    )
    assert root.call("run", "p").code == 0
    (directory,) = (root.path / ".runs/default/cli").iterdir()
    sizes = {p: p.stat().st_size for p in directory.rglob("*") if p.is_file()}
    tries, stages = 2, 3
    streams = sum(size for path, size in sizes.items() if path.parent.name == "commands")
    errors = sum(size for path, size in sizes.items() if path.parent.name == "errors")
    assert streams <= tries * stages * 2 * 65_536
    assert errors <= stages * 10_000
    assert sum(sizes.values()) - streams - errors < 100_000
    assert sum(p.stat().st_size for p in root.path.glob(".runs/.supervisor/*log")) < 100_000
