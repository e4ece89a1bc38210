import json
from typing import Any

import pytest

from tests.examples import run_spec
from workers.records.spec import RunSpec, parse_spec
from workers.records.typed_errors import BadRecordError


def as_read(spec: RunSpec) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(json.dumps(spec.to_json()))
    return value


def test_spec_survives_a_round_trip() -> None:
    spec = run_spec()
    assert parse_spec(as_read(spec), "spec.json") == spec


def test_keys_of_a_later_version_are_ignored() -> None:
    data = as_read(run_spec())
    data["invented_later"] = {"x": 1}
    data["pipeline"]["stages"][0]["invented_later"] = True
    assert parse_spec(data, "spec.json") == run_spec()


def _at(data: dict[str, Any], path: str) -> tuple[Any, Any]:
    *way, last = [int(p) if p.isdigit() else p for p in path.split("/")]
    here: Any = data
    for part in way:
        here = here[part]
    return here, last


@pytest.mark.fault("C6", "S13")
@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        ("task_id", 5, "task_id"),
        ("task_id", "../x", "../x"),
        ("run_id", "../x", "../x"),
        ("parent_run_id", "latest", "latest"),
        ("pipeline/stages/0/id", "../x", "../x"),
        ("pipelines/0/stages/0/id", "../x", "../x"),
        ("schema", "pipeline-supervisor/spec/2", "newer"),
        ("pipeline/stages/0/timeout_s", -1, "pipeline.stages[0].timeout_s"),
        ("pipeline/stages/0/timeout_s", True, "pipeline.stages[0].timeout_s"),
        ("pipeline/stages/0/command", {"a": 1}, "pipeline.stages[0].command"),
        ("pipeline/stages/0/kind", "magic", "pipeline.stages[0].kind"),
        ("pipeline/env", ["A"], "pipeline.env"),
        ("pipeline/resources", {"gpu": 0}, "pipeline.resources.gpu must be more than 0"),
        ("pipeline/resources", {"gpu": "1"}, "pipeline.resources.gpu must be a number"),
        ("pipeline/resources", {"../x": 1}, "pipeline.resources name '../x'"),
        ("limits/grace_s", "ten", "limits.grace_s"),
        ("schema", "other/9", "other/9"),
        ("secrets", [1], "secrets"),
    ],
)
def test_damaged_spec_is_reported_by_file_and_key(path: str, value: object, key: str) -> None:
    data = as_read(run_spec())
    place, last = _at(data, path)
    place[last] = value
    with pytest.raises(BadRecordError) as caught:
        parse_spec(data, "/r/spec.json")
    assert "/r/spec.json" in str(caught.value)
    assert key in str(caught.value)
