"""Ids that one directory cannot tell apart, or that no file system takes, are refused."""

import pytest

from tests.root import Root


@pytest.mark.fault("F26")
@pytest.mark.parametrize(
    "config",
    [
        "[pipelines.Lint]\nstages = [{ id = 's', command = 'true' }]\n"
        "[pipelines.lint]\nstages = [{ id = 's', command = 'true' }]\n",
        "[pipelines.p]\nstages = [{ id = 'S', command = 'a' }, { id = 's', command = 'b' }]\n",
    ],
    ids=["pipelines", "stages"],
)
def test_ids_that_differ_only_in_case_are_refused(root: Root, config: str) -> None:
    root.configure(config)
    done = root.call("start", "--once")
    assert done.code == 78
    assert "case is ignored" in done.err
    assert not (root.path / ".runs").exists()


@pytest.mark.fault("F27")
def test_an_id_that_is_too_long_is_refused_by_its_name_and_the_longest_works(root: Root) -> None:
    done = root.call("run", "--task", "x" * 101, "--", "true")
    assert done.code == 2
    assert "x" * 101 in done.err
    long = "x" * 100
    root.configure(f"[pipelines.{long}]\nstages = [{{ id = '{long}', command = 'false' }}]\n")
    assert root.call("run", "--task", long, long).code == 10
    (manifest,) = root.manifests(long)
    assert (root.path / manifest["commands"][0]["error_file"]).is_file()
