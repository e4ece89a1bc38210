"""A root whose path is not UTF-8: every record and every printed object is strict JSON."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.root import Root, root_in

pytestmark = pytest.mark.fault("C23")


def strict(text: str) -> None:
    """Read JSON as a reader that knows no half of a surrogate pair."""
    json.dumps(json.loads(text), ensure_ascii=False).encode()


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[Root]:
    with root_in(tmp_path / os.fsdecode(b"caf\xe9")) as made:
        yield made


def test_everything_in_a_root_whose_path_is_not_utf_8_is_strict_json(odd: Root) -> None:
    name = os.fsdecode(b"\xff.txt")
    (odd.path / name).write_text("content\n")
    done = odd.call("run", "--", "cat", name)
    assert (done.code, done.out) == (0, "content\n")
    assert odd.call("run", "--", "ls", f"missing-{name}").code == 10
    batch = odd.path / os.fsdecode(b"b\xe9.toml")
    batch.write_text('[[runs]]\npipeline = "p"\n')
    odd.configure('[pipelines.p]\nstages = [{ id = "s", command = "true" }]\n')
    assert odd.call("start", "--once", "--batch", str(batch)).code == 0
    for path in odd.path.rglob("*"):
        if path.suffix in (".json", ".ndjson") or path.name == "supervisor.log":
            text = path.read_text()
            for part in [text] if path.suffix == ".json" else text.splitlines():
                strict(part)
    for words in (["show", "latest"], ["status"], ["status", "latest"], ["verify"], ["doctor"]):
        strict(odd.call(*words, "--json").out)
    for line in odd.call("events", "latest").out.splitlines():
        strict(line)
    page = odd.path / "page.html"
    assert odd.call("report", "latest", "-o", str(page)).code == 0
    page.read_text()
    odd.check_settled(count=3)


def test_parameter_that_is_not_utf_8_is_refused(odd: Root) -> None:
    odd.configure(
        '[pipelines.p]\nparams.x = { type = "string" }\n'
        'stages = [{ id = "s", command = ["echo", "{param.x}"] }]\n'
    )
    done = odd.call("run", "p", "--param", os.fsdecode(b"x=\xe9"))
    assert done.code == 2
    assert "--param number 1 is not UTF-8 text" in done.err
