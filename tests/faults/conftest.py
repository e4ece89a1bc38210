"""The crash harness, made once: the shim, a server that has imported the supervisor, a disk."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.engine import disk as disks
from tests.faults.engine import shim as shims
from tests.faults.engine.client import serving
from tests.faults.engine.lab import Lab


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built shim."""
    why = shims.available()
    if why is not None:
        pytest.skip(why)
    return shims.build(tmp_path_factory.mktemp("shim"))


@pytest.fixture(scope="session")
def clock_shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built shim that shifts the wall clock."""
    why = shims.available()
    if why is not None:
        pytest.skip(why)
    return shims.build(tmp_path_factory.mktemp("clock"), shims.CLOCK_SOURCE)


@pytest.fixture
def lab(shim: Path, tmp_path: Path) -> Iterator[Lab]:
    """A lab in a temporary directory."""
    with serving(shim, tmp_path / "xdg") as server:
        yield Lab(server=server, directory=tmp_path)


@pytest.fixture
def power_lab(shim: Path, tmp_path: Path) -> Iterator[Lab]:
    """A lab whose roots are on a disk of their own."""
    why = disks.available()
    if why is not None:
        pytest.skip(why)
    with disks.loop_disk(tmp_path) as disk, serving(shim, tmp_path / "xdg") as server:
        yield Lab(server=server, directory=tmp_path, disk=disk)
