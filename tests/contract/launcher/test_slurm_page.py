"""docs/how-to/run-on-slurm.md is typed in, on a cluster of our own."""

import sys

import pytest

from tests.integration.test_pages import REPO, Reader, blocks
from tests.root import Root
from tests.slurm_cluster import slurm_cluster

PAGE = REPO / "docs/how-to/run-on-slurm.md"


@pytest.mark.slow
def test_commands_of_the_page_do_what_it_says(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    with slurm_cluster() as cluster:
        for name, value in cluster.env.items():
            monkeypatch.setenv(name, value)
        script = f'#!/bin/sh\nexec {sys.executable} -m supervisor "$@"\n'
        root.write(".bin/supervisor", script).chmod(0o755)
        reader, count = Reader(root), 0
        for block in blocks(PAGE):
            if block.kind == "console":
                reader.read(block)
                count += 1
            elif block.name is not None:
                root.write(block.name, block.text)
        assert count >= 5
