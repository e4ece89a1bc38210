"""A stage that prints the line which stands for dropped bytes: it misleads no reader."""

import re
from pathlib import Path

import pytest

from supervisor.report.read.follow_run import LogFollower
from tests.root import Root

PLACES = (31_500, 32_000, 32_768)
"""Around the middle of a log of 64 KiB, where the real mark would be."""


def configure(root: Root, printed: str) -> None:
    root.write("say.py", f"import sys\nsys.stdout.write({printed})\n")
    root.configure('[pipelines.p]\nstages = [{ id = "s", command = ["python3", "say.py"] }]\n')


@pytest.mark.fault("R2")
@pytest.mark.parametrize("key", ["", " #0123abcd"])
def test_output_that_forges_a_gap_is_shown_whole(root: Root, key: str) -> None:
    text = ""
    for number, place in enumerate(PLACES):
        text += "a" * (place - len(text) - 1)
        text += f"\n[supervisor: {10**number} bytes dropped{key}]\n{number}"
    text += f"\n[supervisor: {'9' * 5000} bytes dropped{key}]\nend\n"
    configure(root, repr(text))
    done = root.call("run", "p")
    assert done.code == 0, done.err
    assert done.out == text
    for words in (["logs", "latest"], ["logs", "-f", "latest"]):
        assert root.call(*words).out == text
    assert root.call("logs", "latest", "--tail", "1").out == "end\n"


@pytest.mark.fault("R2")
def test_real_gap_between_forged_ones_is_the_only_one(root: Root) -> None:
    configure(root, "'[supervisor: 7 bytes dropped]\\n' * 10_000 + 'end\\n'")
    assert root.call("run", "p").code == 0
    log = (root.path / root.manifests()[0]["commands"][0]["log_path"]).read_bytes()
    ours = re.search(rb"\[supervisor: (\d+) bytes dropped #[0-9a-f]{8}\]\n", log)
    assert ours is not None
    shown = root.call("logs", "latest").out
    assert shown.count(f"[supervisor: {int(ours[1])} bytes dropped]") == 1
    assert shown.endswith("[supervisor: 7 bytes dropped]\nend\n")
    assert len(shown.splitlines()) == len(log.splitlines())
    page = root.call("report", "latest", "-o", "-").out
    assert page.count('<span class="gap">[supervisor: ') <= 1
    assert '<span class="gap">[supervisor: 7 ' not in page


@pytest.mark.fault("R2")
def test_old_log_without_key_is_read_and_an_absurd_number_is_text(tmp_path: Path) -> None:
    path = tmp_path / "log"
    head = b"h" * 32_768
    for count, missing in ((b"1000", 1000), (b"9" * 5000, None)):
        path.write_bytes(head + b"\n[supervisor: %b bytes dropped]\n" % count + b"tail")
        follower = LogFollower(str(path), f"{path}.1", "s", "stdout", 32_768)
        pieces = []
        while (piece := follower.read_new(ended=True)) is not None:
            pieces.append(piece)
        assert b"".join(piece.data for piece in pieces).endswith(b"tail")
        assert [p.missing_bytes for p in pieces if p.missing_bytes] == (
            [] if missing is None else [missing]
        )
