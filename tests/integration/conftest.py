"""A root in order, made once, and copies of it to break."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.broken import PIPELINES
from tests.root import Root, root_in


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    """A root in order: three runs, one of them failed."""
    with root_in(tmp_path_factory.mktemp("verify") / "root") as made:
        made.configure(PIPELINES)
        assert made.call("start", "--once", "good", "bad", "good").code == 10
        yield made


@pytest.fixture
def broken(original: Root, tmp_path: Path) -> Root:
    """A copy to break."""
    shutil.copytree(original.path, tmp_path / "root", symlinks=True)
    return Root(tmp_path / "root")
