import os
import stat
from pathlib import Path

import pytest

from workers.processes.spawn import NotStarted, spawn


def refused(argv: list[str], cwd: Path, **env: str) -> str:
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        child = spawn(argv, cwd=str(cwd), env=env, stdout_fd=null, stderr_fd=null)
    finally:
        os.close(null)
    assert isinstance(child, NotStarted)
    return child.reason


@pytest.mark.parametrize("argv", [[], [""], ["no-such-program"], ["./missing"], ["/no/such"]])
def test_missing_command_is_not_found(tmp_path: Path, argv: list[str]) -> None:
    assert refused(argv, tmp_path, PATH="/usr/bin:/bin") == "command-not-found"


def test_script_with_a_missing_interpreter_is_not_executable(tmp_path: Path) -> None:
    script = tmp_path / "tool"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(stat.S_IRWXU)
    assert refused(["tool"], tmp_path, PATH=str(tmp_path)) == "not-executable"


@pytest.mark.parametrize(
    ("argv", "env"),
    [(["true", "a\0b"], {}), (["true"], {"A": "a\0b"}), (["true", "\ud800"], {})],
)
def test_argument_that_no_system_call_accepts_is_reported_and_never_raised(
    tmp_path: Path, argv: list[str], env: dict[str, str]
) -> None:
    assert refused(argv, tmp_path, PATH="/usr/bin:/bin", **env) == "spawn-failed"
