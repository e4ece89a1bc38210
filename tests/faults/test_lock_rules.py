"""Locks beside forks, in handlers, and under two hundred runs that end at once."""

import ast
import os
from pathlib import Path

import pytest

from supervisor.store.state_lock import state_lock
from tests.faults.damage import accept, spec_in
from tests.root import Root

CHECKOUT = Path(__file__).parents[2]
LOCKS = {"take_flock", "state_lock", "flock", "lockf", "FileLock", "acquire", "take_lease", "own"}


@pytest.mark.fault("L8")
def test_two_hundred_runs_of_a_task_that_end_at_once_are_all_in_its_snapshot(root: Root) -> None:
    accept(root, [spec_in("default", n) for n in range(200)], begun=True, ended=True)
    assert root.call("start", "--once").code == 0
    root.check_settled(count=200)


@pytest.mark.fault("L9")
def test_a_fork_while_a_lock_is_held_neither_holds_nor_frees_it(tmp_path: Path) -> None:
    path = str(tmp_path / "t.lock")

    def forked() -> bool:
        """Whether a child of a fork gets the lock; its end must not free ours."""
        pid = os.fork()
        if pid == 0:
            with state_lock(path) as got:
                os._exit(got is not None)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1

    with state_lock(path) as held:
        assert held is not None
        assert not forked()
        assert not forked(), "the first child's end has not freed it"
        assert held()
    assert forked()


@pytest.mark.fault("L3")
def test_a_lock_whose_file_goes_while_it_is_held_is_known_to_exclude_nobody(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.lock"
    with state_lock(str(path)) as held:
        assert held is not None
        assert held()
        path.rename(tmp_path / "elsewhere")
        assert not held()
        path.touch(mode=0o600)
        assert not held()


def handlers(tree: ast.Module) -> list[ast.AST]:
    """What a module gives to ``signal.signal``, function bodies included."""
    named = {n.name: n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    found: list[ast.AST] = []
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "signal.signal":
            given = call.args[1]
            name = ast.unparse(given).removeprefix("self.")
            found.append(named.get(name, given))
    return found


@pytest.mark.fault("L10")
def test_no_lock_is_taken_in_a_signal_handler_or_at_exit() -> None:
    count = 0
    for top in ("supervisor", "workers"):
        for path in (CHECKOUT / top).rglob("*.py"):
            tree = ast.parse(path.read_text())
            assert "atexit" not in path.read_text(), path
            for handler in handlers(tree):
                count += 1
                called = {
                    ast.unparse(n.func).rpartition(".")[2]
                    for n in ast.walk(handler)
                    if isinstance(n, ast.Call)
                }
                assert not called & LOCKS, f"{path}: {called}"
    assert count >= 8, "the handlers are not found any more"
