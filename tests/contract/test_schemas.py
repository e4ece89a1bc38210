"""The JSON Schemas describe every key, accept real records, and refuse others."""

import json
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from supervisor.commands.schema import GENERATED, NAMES
from supervisor.config.json_schema import JSON, generated_schema
from supervisor.config.models import ParamTable, Pipeline, Retries, SettingsTable, Stage, Strict
from supervisor.report.schemas import RECORDS, schema_text
from tests.root import Root, alive, kill_all, wait_until
from workers.records.atomic import TORN
from workers.records.hooks import HookEvent
from workers.records.journal import Event
from workers.records.request import RequestKind
from workers.records.spec import ParamSpec, PipelineSpec, RetrySpec, RunSpec, StageSpec

REPO = Path(__file__).parents[2]

PIPELINES = """
[pipelines.good]
stages = [{ id = "s", command = "echo x; echo y >&2", summary_hint = "fine" }]
[pipelines.bad]
[[pipelines.bad.stages]]
id = "s"
command = "exit 3"
retries = { attempts = 2, delay_s = 0.01 }
[pipelines.parent]
stages = [{ id = "kid", pipeline = "good" }, { id = "bad", pipeline = "bad", optional = true }]
[pipelines.wait.params.what]
choices = ["this", "that"]
default = "this"
[pipelines.slotted]
stages = [{ id = "s", command = "sleep 0.5", uses = ["disk"] }]
[pipelines.wait]
group = "waiting"
stages = [{ id = "s", command = "while ! test -e go; do sleep 0.05; done" }]
"""

SETTINGS = """
groups = { waiting = 2 }
slots = { disk = 1 }
on_success = ["true"]
on_failure = "exit 3"
"""


@cache
def schema(name: str) -> dict[str, Any]:
    return generated_schema(name) if name in GENERATED else json.loads(schema_text(name))


def parts(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a schema."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, dict | list):
            yield from parts(item)


@pytest.mark.parametrize("name", NAMES)
def test_schema_is_valid_and_describes_every_key(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))
    assert schema(name)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    found = 0
    for part in parts(schema(name)):
        properties = part.get("properties")
        if isinstance(properties, dict) and part.get("type") == "object":
            for key, about in properties.items():
                assert about.get("description"), f"{name}: {key} is not described"
                found += 1
    assert found > 3


def test_every_record_is_in_the_table() -> None:
    files = (REPO / "supervisor/report/schemas").glob("*.json")
    assert {path.stem for path in files} == set(RECORDS)


def test_fields_of_a_spec_have_the_types_of_its_schema() -> None:
    described = schema("spec")["properties"]
    fields = RunSpec.__dataclass_fields__
    assert set(described) == {"schema", *fields}
    for name, field in fields.items():
        known = JSON.get(field.type)
        if known is not None and "type" in described[name]:
            assert described[name]["type"] == known["type"], name


@pytest.mark.parametrize(
    ("model", "spec", "others"),
    [
        (Pipeline, PipelineSpec, {"id", "takes", "hooks", "params", *HookEvent}),
        (Stage, StageSpec, {"kind", "optional"}),
        (Retries, RetrySpec, set()),
        (ParamTable, ParamSpec, {"name"}),
    ],
)
def test_a_key_and_the_field_of_a_spec_have_one_name(
    model: type[Strict], spec: type, others: set[str]
) -> None:
    assert {*model.model_fields} ^ {*spec.__dict__["__dataclass_fields__"]} == others


def errors(name: str, value: Any) -> list[str]:
    found = Draft202012Validator(schema(name)).iter_errors(value)
    return [f"{list(error.path)}: {error.message}" for error in found]


def undescribed(about: Any, value: Any, top: dict[str, Any], at: str = "") -> Iterator[str]:
    """The keys of a record that its schema does not describe."""
    if "$ref" in about:
        target = top["$defs"][about["$ref"].removeprefix("#/$defs/")]
        return (yield from undescribed(target, value, top, at))
    for choice in about.get("anyOf", ()):
        if choice.get("type") != "null" and value is not None:
            return (yield from undescribed(choice, value, top, at))
    if isinstance(value, list):
        for item in value:
            yield from undescribed(about.get("items", {}), item, top, f"{at}[]")
    if isinstance(value, dict):
        rest = about.get("additionalProperties")
        rest = next(iter(about.get("patternProperties", {}).values()), rest)
        open_ended = isinstance(rest, dict)
        known = dict(about.get("properties", {}))
        for rule in about.get("allOf", ()):
            if rule["if"]["properties"]["event"]["const"] == value.get("event"):
                named = top["$defs"][rule["then"]["$ref"].removeprefix("#/$defs/")]
                known.update(named["properties"])
        for key, item in value.items():
            if key not in known and not open_ended:
                yield f"{at}.{key}"
            inner = known.get(key, rest if open_ended else {})
            yield from undescribed(inner, item, top, f"{at}.{key}")


def check(name: str, value: Any) -> None:
    assert errors(name, value) == []
    if name != "log":  # whose lines say what their word needs
        assert list(undescribed(schema(name), value, schema(name), name)) == []


def lines(path: Path) -> list[Any]:
    data = path.read_bytes().splitlines(keepends=True)
    return [json.loads(line) for line in data if not line.endswith(TORN)]


def test_real_records_of_every_ending_match_their_schemas(root: Root) -> None:
    root.configure(PIPELINES, settings=SETTINGS)
    assert root.call("start", "--once", "good", "bad", "parent", "slotted", "slotted").code == 10
    process = root.popen("start", "--once", "wait", "wait")
    first, second = wait_until(
        lambda: (
            [m["run_id"] for m in root.manifests() if m["status"] == "in_progress"][1:2]
            and [m["run_id"] for m in root.manifests() if m["status"] == "in_progress"]
        ),
        "two run and are told",
    )
    check("status", json.loads((root.path / ".runs/.supervisor/status.json").read_text()))
    root.call("cancel", first)
    kill_all(f"cli/{second}\0--owner-fd")
    assert alive(f"cli/{second}\0--owner-fd") == []
    assert root.finish(process).code == 12
    (parent,) = [m["run_id"] for m in root.manifests() if m["pipeline_id"] == "parent"]
    assert root.call("retry", parent, "--from", "bad").code == 0
    assert root.call("start", "--once").code == 0
    root.call("submit", "good", "--after", parent)
    (request,) = (root.path / ".runs/.supervisor/inbox").glob("*.json")
    check("request", json.loads(request.read_text()))
    runs = sorted((root.path / ".runs/default/cli").iterdir())
    assert len(runs) == 11
    events, found = set(), set()
    for run in runs:
        check("manifest", json.loads((run / "manifest.json").read_text()))
        check("spec", json.loads((run / "spec.json").read_text()))
        for fact in lines(run / "journal.ndjson"):
            check("journal", fact)
            events.add(fact["event"])
        for name in ("error", "hook"):
            for path in (run / f"{name}s").glob("*.json"):
                check(name, json.loads(path.read_text()))
                found.add(name)
    assert events == set(Event) - {Event.WARNING}
    assert found == {"error", "hook"}
    for line in root.history():
        check("history", line)
    check("state", root.state())
    check("metrics", json.loads((root.path / ".runs/default/metrics.json").read_text()))
    for line in root.log():
        check("log", line)


@pytest.mark.parametrize("name", RECORDS)
def test_record_without_its_keys_is_refused(name: str) -> None:
    assert errors(name, {})


def test_schemas_have_every_event_and_every_kind_of_request() -> None:
    told = {rule["if"]["properties"]["event"]["const"] for rule in schema("journal")["allOf"]}
    assert told == set(Event)
    assert set(schema("request")["properties"]["kind"]["enum"]) == set(RequestKind)


def test_fact_of_another_shape_is_refused() -> None:
    head = {"seq": 1, "at": "2025-10-31T22:56:35.120Z", "mono_s": 1.0, "by": "worker"}
    assert errors("journal", {**head, "event": "stage_started", "stage": "s"})
    assert not errors("journal", {**head, "event": "of_a_later_version"})


def test_configuration_of_this_project_matches_the_schemas() -> None:
    check("config", tomllib.loads((REPO / "config/supervisor.toml").read_text()))
    for path in (REPO / "config/batches").glob("*.toml"):
        check("batch", tomllib.loads(path.read_text()))


@pytest.mark.parametrize(
    "text",
    [
        "[supervisor]\nmax_rnus = 3",
        "[supervisor]\nmax_runs = 0",
        '[supervisor]\nlauncher = "thread"',
        "[pipelines.a]\nstages = []",
        '[pipelines.a]\nstages = [{ id = "s" }]',
        '[pipelines.a]\nstages = [{ id = "s", command = "x", pipeline = "b" }]',
        '[pipelines.a]\nstages = [{ id = "s/t", command = "x" }]',
        '[pipelines.a]\nstages = [{ id = "s", command = "x", comand = 1 }]',
    ],
)
def test_schema_refuses_what_validate_refuses(text: str) -> None:
    assert errors("config", tomllib.loads(text))


def test_every_setting_is_in_the_schema_with_its_default() -> None:
    told = schema("config")["properties"]["supervisor"]["properties"]
    assert set(told) == set(SettingsTable.model_fields)
    for name, field in SettingsTable.model_fields.items():
        assert told[name].get("default") == field.default, name


def test_schema_lists_names_and_suggests_the_nearest(root: Root) -> None:
    listed = root.call("schema")
    assert [line.split()[0] for line in listed.out.splitlines()] == list(NAMES)
    for name in NAMES:
        assert root.call("schema", name).json()["title"]
    wrong = root.call("schema", "manifst")
    assert (wrong.code, wrong.out) == (2, "")
    assert "did you mean 'manifest'" in wrong.err
