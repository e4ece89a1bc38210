"""``init`` creates a configuration that runs, and overwrites nothing."""

from pathlib import Path

import pytest

from tests.root import Root, root_in


@pytest.fixture
def bare(root: Root) -> Root:
    """A root without any configuration."""
    (root.path / "config/supervisor.toml").unlink()
    (root.path / "config").rmdir()
    return root


@pytest.mark.parametrize("makefile", ["", "check:\n\t@echo checked\n"])
def test_what_init_writes_is_valid_and_runs(bare: Root, makefile: str) -> None:
    if makefile:
        bare.write("Makefile", makefile)
    done = bare.call("init")
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("next:    supervisor plan checks\n         supervisor start --once\n")
    assert bare.call("validate").code == 0
    assert bare.call("start", "--once").code == 0
    bare.check_settled("checks", 1)
    stages = [command["id"] for command in bare.manifests("checks")[0]["commands"]]
    assert stages == (["check"] if makefile else ["hello", "goodbye"])


def test_init_writes_the_schemas_that_schema_prints(bare: Root) -> None:
    bare.call("init")
    for name in ("config", "batch"):
        text = (bare.path / f"config/schema/{name}.json").read_text()
        assert bare.call("schema", name).out == text
    assert (bare.path / "config/supervisor.toml").read_text().startswith("#:schema ./schema/")


@pytest.mark.parametrize("name", ["config/supervisor.toml", "config/batches/checks.toml"])
def test_init_overwrites_nothing_and_writes_nothing_else(bare: Root, name: str) -> None:
    path = bare.write(name, "mine")
    before = sorted(bare.path.rglob("*"))
    done = bare.call("init")
    assert done.code == 2
    assert name in done.err
    assert path.read_text() == "mine"
    assert sorted(bare.path.rglob("*")) == before


def test_a_dangling_link_is_not_changed(bare: Root, tmp_path: Path) -> None:
    (bare.path / "config").mkdir()
    (bare.path / "config/supervisor.toml").symlink_to(tmp_path / "elsewhere")
    assert bare.call("init").code == 2
    assert not (tmp_path / "elsewhere").exists()


def test_without_root_init_writes_to_the_current_directory(bare: Root) -> None:
    bare.call("init")
    with root_in(bare.path / "sub") as below:
        (below.path / "config/supervisor.toml").unlink()
        assert below.call("init").code == 0
        assert (below.path / "config/supervisor.toml").exists()


def test_the_next_commands_name_a_root_elsewhere(bare: Root, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    assert f"supervisor start --once --root {other}" in bare.call("init", "--root", str(other)).out
    assert bare.call("init", "--root", str(tmp_path / "none")).code == 2
