"""Arguments, paths and variables that are not UTF-8."""

import json
import os
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import run_spec, stage
from workers.records.atomic import to_bytes, to_line
from workers.records.files import parse_object
from workers.records.json_text import is_utf_8, readable, to_json
from workers.records.spec import parse_spec
from workers.records.typed_errors import BadRecordError

BYTES = os.fsdecode(b"caf\xe9")
pytestmark = pytest.mark.fault("C23")


def strict(data: bytes) -> Any:
    """Read JSON as a reader that knows no half of a surrogate pair."""
    value = json.loads(data)
    json.dumps(value, ensure_ascii=False).encode()
    return value


@pytest.mark.parametrize("command", [("printf", BYTES, "b"), f"cat {BYTES}"])
def test_spec_keeps_the_bytes_that_a_command_needs(command: str | tuple[str, ...]) -> None:
    first = stage("s", command=command, cwd=f"/{BYTES}", env=(("A", BYTES), ("B", "b")))
    spec = run_spec()
    spec = replace(spec, pipeline=replace(spec.pipeline, stages=(first,), cwd=BYTES))
    data = strict(to_bytes(spec.to_json()))
    assert parse_spec(data, "spec.json") == spec
    shown = data["pipeline"]["stages"][0]
    words = [shown["command"]] if isinstance(command, str) else shown["command"]
    assert any("caf\\xe9" in word for word in words)
    assert shown["env"] == {"A": "caf\\xe9", "B": "b"}


def test_spec_in_utf_8_has_no_additional_keys() -> None:
    text = to_bytes(run_spec().to_json())
    assert b'_bytes": [' not in text
    assert b"command_bytes" not in text


def test_bytes_that_are_not_base64_are_a_bad_record() -> None:
    data = json.loads(to_bytes(run_spec().to_json()))
    data["pipeline"]["stages"][0]["command_bytes"] = ["???"]
    with pytest.raises(BadRecordError, match="command_bytes must be base64"):
        parse_spec(data, "spec.json")


@given(st.dictionaries(st.text(), st.one_of(st.text(), st.lists(st.text()))))
def test_every_record_is_strict_json(record: dict[str, Any]) -> None:
    broken = {**record, "half": BYTES, BYTES: ["\ud800", "\U0001f600"]}
    for data in (to_bytes(broken), to_line(broken)):
        assert strict(data)["half"] == "caf\\xe9"
    assert to_json(record, json.dumps) == json.dumps(record), "the rest is as it was"


@given(st.text(st.characters(exclude_categories=[])))
def test_readable_text_is_utf_8(text: str) -> None:
    assert is_utf_8(readable(text))
    assert readable(text) == text or not is_utf_8(text)


@pytest.mark.parametrize("text", ["\\ud800", "\\udfff", "a\\udc00b"])
def test_record_with_half_of_a_surrogate_pair_is_refused(text: str) -> None:
    with pytest.raises(BadRecordError, match="half of a surrogate pair"):
        parse_object(f'{{"command": ["echo", "{text}"]}}'.encode(), "spec.json")


@pytest.mark.parametrize("text", ["\\udce9", "\\ud83d\\ude00"])
def test_record_of_an_earlier_version_with_a_byte_or_a_whole_pair_is_read(text: str) -> None:
    assert parse_object(f'{{"command": "{text}"}}'.encode(), "spec.json")["command"]
