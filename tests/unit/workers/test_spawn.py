import os
import stat
from pathlib import Path

import pytest

from workers.processes.spawn import NotStarted, spawn


def refused(argv: list[str], cwd: Path, **env: str) -> str:
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        found = spawn(argv, cwd=str(cwd), env=env, stdout_fd=null, stderr_fd=null)
    finally:
        os.close(null)
    assert isinstance(found, NotStarted)
    return found.reason


@pytest.mark.parametrize("argv", [[], [""], ["no-such-program"], ["./missing"], ["/no/such"]])
def test_a_command_that_is_not_there_is_not_found(tmp_path: Path, argv: list[str]) -> None:
    assert refused(argv, tmp_path, PATH="/usr/bin:/bin") == "command-not-found"


def test_a_script_of_the_path_without_its_interpreter_is_not_executable(tmp_path: Path) -> None:
    script = tmp_path / "tool"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(stat.S_IRWXU)
    assert refused(["tool"], tmp_path, PATH=str(tmp_path)) == "not-executable"


@pytest.mark.parametrize(
    ("argv", "env"),
    [(["true", "a\0b"], {}), (["true"], {"A": "a\0b"}), (["true", "\ud800"], {})],
)
def test_what_no_system_call_takes_is_told_and_never_raised(
    tmp_path: Path, argv: list[str], env: dict[str, str]
) -> None:
    assert refused(argv, tmp_path, PATH="/usr/bin:/bin", **env) == "spawn-failed"
