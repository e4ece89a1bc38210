"""Configuration that changes, and that cannot be read at all."""

import os
import tempfile
from pathlib import Path

import pytest

from supervisor.config.load_settings import load_settings
from supervisor.errors import ConfigError
from tests.root import Root

NOBODY = 65_534


@pytest.mark.fault("C10")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs a user to whom it is forbidden")
def test_a_configuration_that_may_not_be_read_is_refused() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to others
        os.chmod(folder, 0o711)
        path = Path(folder, "supervisor.toml")
        path.write_text("[supervisor]\n")
        path.chmod(0)
        os.seteuid(NOBODY)
        try:
            with pytest.raises(ConfigError, match=r"cannot be read: Permission denied"):
                load_settings(flags={}, project=str(path), environ={})
        finally:
            os.seteuid(0)


@pytest.mark.fault("C11")
@pytest.mark.parametrize("change", ["another", "garbage", "gone"])
def test_a_run_does_what_was_written_when_it_was_accepted(root: Root, change: str) -> None:
    pipeline = '[pipelines.p]\nstages = [{{ id = "s", command = "echo {}" }}]\n'
    root.configure(pipeline.format("first"))
    run_id = root.call("submit", "p").out.strip()
    config = root.path / "config/supervisor.toml"
    match change:
        case "another":
            root.configure(pipeline.format("second"))
        case "garbage":
            config.write_text("[[[")
        case _:
            config.unlink()
    if change == "garbage":
        assert root.call("start", "--once").code == 78
        config.unlink()
    assert root.call("start", "--once").code == 0
    assert root.call("logs", run_id).out == "first\n"
    root.check_settled(count=1)


@pytest.mark.fault("C10")
@pytest.mark.parametrize("verb", [("start", "--once"), ("validate",)])
def test_missing_batch_names_the_setting_as_well_as_the_path(
    root: Root, verb: tuple[str, ...]
) -> None:
    root.configure(settings='batch = "nightly.toml"\n')
    done = root.call(*verb)
    assert done.code == 78
    assert f"{root.path}/config/nightly.toml: does not exist; the setting 'batch'" in done.err
    given = root.call("validate", "--batch", "other.toml")
    assert f"{root.path}/other.toml: does not exist\n" in given.err
