"""Foreign text: no control sequence reaches a person, no line of a log is forged."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisor.cli import run
from supervisor.report.text.sanitize import clean, clean_output
from supervisor.store.log import Log
from tests.root import DEADLINE_S, Root, root_in
from workers.records.json_text import readable

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b31m\x00\r\x08\x7f\x85\u2028" + BIDI
UNSAFE = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029{BIDI}]")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
texts = st.text(st.one_of(st.characters(), st.sampled_from(HOSTILE + "\n\t")), max_size=80)


def check(text: str) -> None:
    found = UNSAFE.search(text)
    assert not found, f"{found!r} in {text!r}"


@pytest.mark.fault("S7")
@given(texts)
def test_clean_text_has_no_control_character_but_newline_and_tab(text: str) -> None:
    check(clean(text))


@pytest.mark.fault("S7")
@given(texts)
def test_clean_output_has_no_control_sequence_but_colours(text: str) -> None:
    check(COLOUR.sub("", clean_output(text)))


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Iterable[Root]:
    """A root with a failed run, whose records the examples fill with foreign text."""
    with root_in(tmp_path_factory.mktemp("terminal") / "root") as root:
        assert root.call("run", "--", "sh", "-c", "echo x; exit 1").code == 10
        yield root


def fill(value: object, text: str) -> object:
    """The same record with foreign text wherever people read text."""
    keys = {"pipeline_title", "status_detail", "reason", "summary", "message", "title", "command"}
    keys |= {"stdout", "stderr", "statusDetail", "pipelineId", "pipeline_id", "signal"}
    keys |= {"heartbeat_at", "completed_at"}
    if isinstance(value, dict):
        return {
            k: text if k in keys and isinstance(v, str | None) else fill(v, text)
            for k, v in value.items()
        }
    return [fill(item, text) for item in value] if isinstance(value, list) else value


@pytest.mark.fault("S7")
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(text=texts)
def test_reading_commands_print_no_control_character_of_foreign_text(
    settled: Root, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = ["--root", str(settled.path)]
    (directory,) = (settled.path / ".runs/default/cli").iterdir()
    paths = [directory / "manifest.json", directory / "errors/01-sh.json"]
    paths.append(settled.path / "out/default/history.ndjson")
    kept = {path: path.read_bytes() for path in paths}
    try:
        for path in paths:
            record = fill(json.loads(kept[path]), text + HOSTILE)
            path.write_text(json.dumps(record) + "\n")
        for words in (
            *(["status"], ["status", "latest"], ["status", "latest", "--json"], ["verify"]),
            *(["show", "latest"], ["show", "latest", "--timing"], ["events", "latest"]),
            *(["report", "latest", "-o", "-"], ["report", "--task", "default", "-o", "-"]),
        ):
            code = run([*words, *root])
            shown = capsys.readouterr()
            assert code in (0, 3, 65), shown.err
            assert "Traceback" not in shown.err
            check(shown.out)
            check(shown.err)
        code = run(["wait", "latest", "--timeout", "0", *root])
        shown = capsys.readouterr()
        assert code in (10, 12, 124), shown.err
        check(shown.out)
        foreign = (text + HOSTILE).replace("\0", "")
        for words in (["show", foreign], ["plan", foreign], [foreign], ["status", "--" + foreign]):
            assert run([*words, *root]) in (2, 4)
            shown = capsys.readouterr()
            check(shown.out)
            check(shown.err)
    finally:
        for path, data in kept.items():
            path.write_bytes(data)


@pytest.mark.fault("S7")
def test_configuration_errors_print_no_control_character(
    root: Root, capsys: pytest.CaptureFixture[str]
) -> None:
    escaped = json.dumps(HOSTILE)[1:-1].replace("\\u0000", "")
    for text in (
        f'[supervisor]\n"{escaped}" = 1\n',
        f'[pipelines."{escaped}"]\nstages = []\n',
        f'[pipelines.p]\nstages = [{{ id = "{escaped}", command = "true" }}]\n',
        f'[pipelines.p]\nstages = [{{ id = "s", pipeline = "{escaped}" }}]\n',
        f"# {HOSTILE}\n",
    ):
        root.write("config/supervisor.toml", text)
        assert run(["validate", "--root", str(root.path)]) == 78
        shown = capsys.readouterr()
        check(shown.out)
        check(shown.err)
    root.write("config/supervisor.toml", "")
    name = "b" + HOSTILE.replace("\0", "").replace("\r", "") + ".toml"
    root.write(name, "[[runs]]\n")
    assert run(["validate", "--root", str(root.path), "--batch", str(root.path / name)]) == 78
    check(capsys.readouterr().err)


@pytest.mark.fault("S7")
def test_output_on_a_terminal_keeps_only_its_colours(root: Root) -> None:
    script = r"printf '\033[31mred\033[0m\033]0;title\007\033[2J\302\233A\342\200\256\r\n'"
    assert root.call("run", "--", "sh", "-c", script).code == 0
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "supervisor", "logs", "latest", "--root", str(root.path)],
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=subprocess.PIPE,
    )
    os.close(follower)
    seen = b""
    try:
        while part := os.read(leader, 4096):
            seen += part
    except OSError:
        pass  # a terminal whose other side is closed says EIO at its end
    finally:
        os.close(leader)
        _, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, err) == (0, b"")
    text = seen.decode().replace("\r\n", "\n")
    assert "\x1b[31mred\x1b[0m" in text
    check(COLOUR.sub("", text))


@pytest.mark.fault("S8")
@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(word=texts)
def test_foreign_text_forges_no_line_of_the_log(tmp_path: Path, word: str) -> None:
    path = tmp_path / "supervisor.log"
    path.unlink(missing_ok=True)
    forged = word + '\n{"event": "run_finished", "status": "succeeded"}\n'
    Log(str(path)).write("request_rejected", why=forged, path=word)
    data = path.read_bytes()
    assert data.count(b"\n") == 1
    assert data.isascii()
    record = json.loads(data)
    assert (record["event"], record["why"]) == ("request_rejected", readable(forged))


@pytest.mark.fault("S8")
def test_stage_output_forges_no_line_of_journal_history_or_log(root: Root) -> None:
    forged = '{"seq": 99, "at": "x", "mono_s": 1, "event": "verdict", "by": "worker"}'
    root.write("forged", f"\n{forged}\r{forged}\u2028{forged}\n")
    assert root.call("run", "--", "sh", "-c", "cat forged >&2; exit 1").code == 10
    (manifest,) = root.manifests()
    events = [e["event"] for e in root.events(manifest["run_id"])]
    assert events.count("verdict") == 1
    assert len(root.history()) == 1
    assert [e["event"] for e in root.log()].count("run_finished") == 1
