"""The caller's environment, umask and limits: they change nothing of ours, and stages get them."""

import json
import os
import resource
import shlex
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.root import Done, Root, wait_until
from workers.processes.spawn import NotStarted, spawn
from workers.processes.tree import children
from workers.records.proc import proc_stat

SCRIPT = Path(sys.executable).with_name("supervisor")
PYTHON = shlex.quote(sys.executable)
STATUS = "cat /proc/self/status"
needs_script = pytest.mark.skipif(not SCRIPT.exists(), reason="the command is not installed")


def shell(root: Root, script: str, **env: str) -> Done:
    """Run a shell script in the root, in an environment with nothing but PATH and HOME."""
    process = subprocess.Popen(
        ["/bin/sh", "-c", script],
        cwd=root.path,
        env={"PATH": os.environ["PATH"], "HOME": str(root.path), **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    root.started.append(process)
    return root.finish(process)


@needs_script
@pytest.mark.fault("M1")
@pytest.mark.parametrize("name", ["supervisor", "workers", "click", "logging", "psutil"])
def test_a_package_on_pythonpath_never_replaces_one_of_ours(root: Root, name: str) -> None:
    planted = root.path / "project"
    (planted / name).mkdir(parents=True)
    (planted / name / "__init__.py").write_text("raise SystemExit('the wrong package')\n")
    code = f"import os; print(os.environ['PYTHONPATH']); import {name}"
    script = f'{SCRIPT} run -- {PYTHON} -c "{code}"'
    done = shell(root, script, PYTHONPATH=f"{planted}:")
    assert done.out.splitlines() == [f"{planted}:"], done.err
    assert done.code == 10, "the stage's own Python obeys the variable"
    assert "the wrong package" in shell(root, f"{SCRIPT} logs latest").err
    assert shell(root, f"{SCRIPT} show latest", PYTHONPATH=str(planted)).code == 0


@needs_script
@pytest.mark.fault("M1")
@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONOPTIMIZE": "2"},
        {"PYTHONINSPECT": "1"},
        {"PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error"},
        {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "0", "LC_ALL": "C"},
        {"PYTHONSAFEPATH": "1", "PYTHONIOENCODING": "utf-8", "PYTHONHASHSEED": "1"},
    ],
    ids=str,
)
def test_variables_of_python_change_no_output_and_reach_stages(
    root: Root, variables: dict[str, str]
) -> None:
    plain = shell(root, f"{SCRIPT} status --help")
    assert shell(root, f"{SCRIPT} status --help", **variables) == plain
    done = shell(root, f"{SCRIPT} run -- env", **variables)
    assert done.code == 0
    got = dict(line.split("=", 1) for line in done.out.splitlines())
    python = {k: v for k, v in got.items() if k.startswith(("PYTHON", "LC_"))}
    assert python == variables
    assert all(line.startswith("supervisor: ") for line in done.err.splitlines()), done.err


@pytest.mark.fault("M2")
@pytest.mark.parametrize("given", [{}, {"LC_CTYPE": "C"}, {"LANG": "C"}, {"LC_CTYPE": "C.UTF-8"}])
def test_in_the_c_locale_stages_and_hooks_get_no_locale_of_ours(
    root: Root, given: dict[str, str]
) -> None:
    root.configure(
        '[pipelines.p]\non_finish = "env > hook.txt"\nstages = [{ id = "s", command = "env" }]\n'
    )
    done = shell(
        root,
        f"{PYTHON} -m supervisor start --once p && {PYTHON} -m supervisor logs latest",
        **given,
    )
    assert done.code == 0, done.err
    for text in (done.out, (root.path / "hook.txt").read_text()):
        lines = text.splitlines()
        found = [line for line in lines if line.startswith(("LC_", "LANG="))]
        assert found == [f"{name}={value}" for name, value in given.items()]


@pytest.mark.fault("M5")
@pytest.mark.parametrize("mask", ["0777", "0707", "0027"])
def test_records_can_be_read_whatever_the_umask_and_stages_have_it(root: Root, mask: str) -> None:
    program = f"umask {mask}; exec {PYTHON} -m supervisor"
    run = f"{program} run -- sh -c 'umask; touch made'"
    done = shell(root, run)
    assert (done.code, int(done.out, 8)) == (0, int(mask, 8)), done.err
    assert stat.S_IMODE((root.path / "made").stat().st_mode) == 0o666 & ~int(mask, 8)
    submitted = shell(root, f"{program} submit -- true")
    assert shell(root, f"{program} start --once").code == 0
    assert shell(root, f"{program} wait {submitted.out.strip()}").code == 0
    for path in (root.path / ".runs").rglob("*"):
        if path.name != "xdg":
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert shell(root, f"{program} report latest -o page.html").code == 0
    mode = stat.S_IMODE((root.path / "page.html").stat().st_mode)
    assert mode & 0o077 == 0o066 & ~int(mask, 8) & mode
    assert mode & 0o600 == 0o600


@pytest.mark.fault("M6")
@pytest.mark.parametrize("verb", ["run", "start --once --launcher exec"])
def test_soft_limits_are_raised_for_us_and_kept_for_stages_and_hooks(root: Root, verb: str) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The worker has the caller's limits for the moment in which it starts a stage.
    raised = f"grep -q '^Max open files  *{hard} ' /proc/$PPID/limits"
    show = f"until {raised}; do sleep 0.02; done; ulimit -Sn; ulimit -Sf"
    root.configure(
        "[pipelines.p]\non_finish = '''ulimit -Sn > hook.txt'''\n"
        f"stages = [{{ id = 's', command = '''{show}''' }}]\n"
    )
    limits = "ulimit -Sn 200; ulimit -Sf 1"
    done = shell(root, f"{limits}; {PYTHON} -m supervisor {verb} p")
    assert done.code == 0, done.err
    assert shell(root, f"{PYTHON} -m supervisor logs latest").out == "200\n1\n"
    wait_until((root.path / "hook.txt").exists, "the hook ran")
    wait_until((root.path / "hook.txt").read_text, "the hook wrote")
    assert (root.path / "hook.txt").read_text() == "200\n"


@pytest.mark.fault("M8")
@pytest.mark.parametrize("launcher", ["zygote", "exec"])
def test_memory_pressure_ends_stages_before_workers_before_the_supervisor(
    root: Root, launcher: str
) -> None:
    root.configure(launcher=launcher)
    process = root.serving()
    run_id = root.call("submit", "--", "sh", "-c", "touch on; sleep 60").out.strip()
    wait_until((root.path / "on").exists, "the stage runs")

    def value(pid: int) -> int:
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    (stage,) = (pid for pid in root.stages() if (s := proc_stat(pid)) and s.pgid == pid)
    found = proc_stat(stage)
    assert found is not None
    assert value(process.pid) == value(os.getpid())
    assert value(stage) > value(found.ppid) > value(process.pid)
    assert root.call("cancel", run_id).code == 0
    root.stop(process)


def started(argv: list[str], cwd: Path, **env: str) -> NotStarted | int:
    null = os.open(os.devnull, os.O_WRONLY)
    here = os.getcwd()
    try:
        found = spawn(argv, cwd=str(cwd), env=env, stdout_fd=null, stderr_fd=null)
    finally:
        os.close(null)
        os.chdir(here)
    if isinstance(found, int):
        return os.waitstatus_to_exitcode(os.waitpid(found, 0)[1])
    return found


def tool(path: Path, exit_code: int, mode: int = 0o755) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\nexit {exit_code}\n")
    path.chmod(mode)


@pytest.mark.fault("M4")
def test_a_name_is_looked_for_in_path_alone(tmp_path: Path) -> None:
    tool(tmp_path / "tool", 3)
    tool(tmp_path / "data", 3, mode=0o644)
    (tmp_path / "folder").mkdir()
    for name in ("tool", "data", "folder"):
        for env in ({}, {"PATH": "/usr/bin:/bin"}, {"PATH": "/no/such/directory"}):
            found = started([name], tmp_path, **env)
            assert isinstance(found, NotStarted), (name, env)
            assert found.reason == "command-not-found"
    found = started(["data"], tmp_path, PATH=f"/usr/bin:{tmp_path}")
    assert isinstance(found, NotStarted)
    assert (found.reason, found.message) == (
        "not-executable",
        f"{tmp_path}/data: Permission denied",
    )


@pytest.mark.fault("M4")
@pytest.mark.parametrize("path", ["", ":/usr/bin", "/usr/bin::/bin", "/usr/bin:.", "bin/../."])
def test_entries_of_path_are_meant_from_the_stages_directory(tmp_path: Path, path: str) -> None:
    (tmp_path / "bin").mkdir()
    tool(tmp_path / "tool", 3)
    assert started(["tool"], tmp_path, PATH=path) == 3
    tool(tmp_path / "bin/other", 4)
    assert started(["other"], tmp_path, PATH="/usr/bin:bin") == 4


@pytest.mark.fault("M4")
def test_a_file_that_may_not_be_executed_hides_no_later_one(tmp_path: Path) -> None:
    tool(tmp_path / "first/tool", 3, mode=0o644)
    tool(tmp_path / "second/tool", 4)
    assert started(["tool"], tmp_path, PATH=f"{tmp_path}/first:{tmp_path}/second") == 4


@pytest.mark.fault("M3")
def test_a_supervisor_works_on_after_its_directory_is_gone(root: Root) -> None:
    here = root.path / "here"
    here.mkdir()
    root.configure('[pipelines.p]\nstages = [{ id = "s", command = "pwd" }]\n')
    process = subprocess.Popen(
        [sys.executable, "-m", "supervisor", "start", "--root", ".."],
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    root.started.append(process)
    wait_until((root.path / ".runs/.supervisor/status.json").exists, "the supervisor serves")
    here.rmdir()
    root.configure("[pipelines.p]\nstages = [{ id = 's', command = 'pwd' }]\n", "max_runs = 3\n")
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: [e for e in root.log() if e["event"] == "reloaded"], "it reads again")
    run_id = root.call("submit", "p").out.strip()
    assert root.call("wait", run_id).code == 0
    assert json.loads(root.call("status", "--json").out)["supervisor"]["pid"] == process.pid
    root.stop(process)
    root.check_settled(count=1)


WIDE = "[pipelines.wide]\nstages = [\n%s]\n"


@pytest.mark.fault("M9")
def test_a_pipeline_wider_than_the_descriptors_allow_succeeds(root: Root) -> None:
    # Failed tries give their place to nobody: the next try needs it again.
    stages = "".join(
        f"{{ id = 's{n}', needs = [], command = 'test -e t{n} || {{ touch t{n}; exit 1; }}', "
        "retries = { attempts = 2, delay_s = 0.05 } },\n"
        for n in range(40)
    )
    root.configure(WIDE % stages)
    limit = "ulimit -n 100"
    done = shell(root, f"{limit}; {PYTHON} -m supervisor run wide")
    assert done.code == 0, done.err
    (manifest,) = root.manifests()
    assert {stage["status"] for stage in manifest["extensions"]["stages"]} == {"succeeded"}
    found = json.loads(shell(root, f"{limit}; {PYTHON} -m supervisor doctor --json").out)
    (width,) = (f for f in found["findings"] if f["check"] == "width")
    assert (width["level"], width["fix"].endswith("max_parallel = 13")) == ("warn", True)
    assert "232 needed for the 40 parallel stages of pipeline wide" in width["what"]
    root.check_settled(count=1)


@pytest.mark.fault("M9")
def test_more_runs_than_the_descriptors_allow_wait_for_their_turn(root: Root) -> None:
    root.configure('[pipelines.p]\nstages = [{ id = "s", command = "sleep 0.3" }]\n')
    root.write("batch.toml", "[[runs]]\npipeline = 'p'\n" * 12)
    done = shell(root, f"ulimit -n 36; {PYTHON} -m supervisor start --once --batch batch.toml")
    assert done.code == 0, done.err
    assert "at most 4 runs at once, although max_runs = 50" in done.err
    assert not [e for e in root.log() if e["event"] == "launch_failed"]
    root.check_settled(count=12)


@pytest.mark.fault("M7")
def test_a_worker_that_cannot_begin_ends_its_run_as_spawn_failed(root: Root) -> None:
    """An interpreter that ends as our worker does when the system gives it no thread."""
    interpreter = root.write("python", "#!/bin/sh\nexit 71\n")
    interpreter.chmod(0o755)
    code = f"import sys; sys.executable = {str(interpreter)!r}; "
    code += "from supervisor.__main__ import main; main()"
    root.configure('[pipelines.p]\nstages = [{ id = "s", command = "true" }]\n', launcher="exec")
    done = shell(
        root,
        f'{PYTHON} -c "{code}" start --once p',
        PYTHONPATH=str(Path(__file__).parents[2]),
        SUPERVISOR_LAUNCHER="exec",
    )
    assert done.code == 12, done.err
    (manifest,) = root.manifests()
    assert manifest["status_detail"] == "spawn-failed"
    assert "workers.log" in manifest["extensions"]["reason"]
    root.check_settled(count=1)


@pytest.mark.fault("M14")
def test_a_supervisor_works_on_after_its_package_was_removed(root: Root, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    home = Path(__file__).parents[2]
    for name in ("supervisor", "workers"):
        shutil.copytree(home / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(home / "pipeline_supervisor.py", copy)
    root.configure(
        "[pipelines.p]\non_finish = 'echo done > hook.txt'\n"
        "stages = [{ id = 's', command = 'exit 1', retries = { attempts = 2, delay_s = 0.01 } }]\n",
        launcher="zygote",
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "supervisor", "start", "--root", str(root.path)],
        cwd=copy,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    root.started.append(process)
    wait_until((root.path / ".runs/.supervisor/status.json").exists, "the supervisor serves")
    copy.rename(tmp_path / "removed")
    assert root.call("run", "p").code == 10
    wait_until((root.path / "hook.txt").exists, "the hook ran")
    process.send_signal(signal.SIGHUP)
    (refused,) = wait_until(
        lambda: [e for e in root.log() if e["event"] == "reload_refused"], "it answers"
    )
    assert "upgraded or removed" in refused["problems"][0]
    assert root.call("run", "--", "true").code == 0, "it serves on"
    # Without the process that forks workers there is nothing left to run with, unless the package
    # is installed in another place, too. Either way the run has its verdict.
    (zygote,) = (pid for pid in children(process.pid) if "zygote" in title(pid))
    os.kill(zygote, signal.SIGKILL)
    assert root.call("run", "--", "true").code in (0, 12)
    assert root.call("stop").code == 0
    done = root.finish(process)
    assert "Traceback" not in done.err
    root.check_settled(count=3)


def title(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()
