"""JSON Schemas (draft 2020-12) of the configuration files and of specs, from their declarations.

TOML has no null: a key that may be left out is not required. What only the models' code checks (an
id that ends in ``.lock``, a circle of pipelines) is found by ``validate``, not by an editor. In a
spec, pipelines have the types of the dataclasses that read them and the descriptions of the models.
The schemas of all other records are files in ``supervisor/report/schemas``.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from supervisor.config.models import (
    BatchFile,
    ConfigFile,
    ParamTable,
    Pipeline,
    Retries,
    SettingsTable,
    Stage,
)
from supervisor.report.schemas import schema_text
from workers.records.limits import Limits
from workers.records.spec import ParamSpec, PipelineSpec, RetrySpec, StageKind, StageSpec

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_NULL: Final = {"type": "null"}
_TEXT: Final = {"type": "string"}
_TEXTS: Final = {"type": "array", "items": _TEXT}
_BASE64: Final = {"type": "string", "contentEncoding": "base64"}
_REQUIRED: Final[Mapping[object, dict[str, Any]]] = {  # the types that a reader must find
    str: _TEXT,
    int: {"type": "integer"},
    float: {"type": "number", "minimum": 0},
    bool: {"type": "boolean"},
    tuple[int, ...]: {"type": "array", "items": {"type": "integer"}},
    StageKind: {"enum": list(StageKind), "description": "what it runs"},
}
JSON: Final[Mapping[object, dict[str, Any]]] = {
    **_REQUIRED,
    str | None: {"type": ["string", "null"]},
    int | None: {"type": ["integer", "null"]},
    float | None: {"type": ["number", "null"], "minimum": 0},
    str | tuple[str, ...] | None: {"anyOf": [_TEXT, _TEXTS, _NULL]},
    tuple[str, ...]: _TEXTS,
    tuple[str, ...] | None: {"type": ["array", "null"], "items": _TEXT},
    tuple[int, ...] | None: {"type": ["array", "null"], "items": {"type": "integer"}},
    tuple[tuple[str, str], ...]: {"type": "object", "additionalProperties": _TEXT},
    tuple[tuple[str, float], ...]: {
        "type": "object",
        "additionalProperties": {"type": "number", "exclusiveMinimum": 0},
    },
}
"""The JSON of each type that a field of a spec has."""
_EXACT: Final[Mapping[str, dict[str, Any]]] = {
    "command": {"anyOf": [_BASE64, {"type": "array", "items": _BASE64}]},
    "cwd": _BASE64,
    "env": {"type": "object", "additionalProperties": _BASE64},
}


def generated_schema(name: str) -> dict[str, Any]:
    """The schema of "config", "batch", "spec" or "request"."""
    match name:
        case "config":
            schema = _schema_of(ConfigFile, "config/supervisor.toml: settings and pipelines")
            settings = clean_schema(SettingsTable.model_json_schema())
            schema["$defs"] = {**schema.get("$defs", {}), **settings.pop("$defs", {})}
            description = schema["properties"]["supervisor"]["description"]
            schema["properties"]["supervisor"] = {**settings, "description": description}
        case "batch":
            schema = _schema_of(BatchFile, "a batch: runs to start together")
        case "spec":
            schema = json.loads(schema_text("spec"))
            schema["$defs"] |= _pipelines(schema["$defs"]["hook"]) | {"limits": _limits()}
        case _:
            schema, spec = json.loads(schema_text("request")), generated_schema("spec")
            own = {key: spec[key] for key in ("type", "required", "properties")}
            schema["$defs"] = {"spec": own, **spec["$defs"], **schema["$defs"]}
    return schema


def _schema_of(model: type[BaseModel], title: str) -> dict[str, Any]:
    schema: dict[str, Any] = clean_schema(model.model_json_schema())
    stage = schema["$defs"]["Stage"]
    stage["oneOf"] = [{"required": ["command"]}, {"required": ["pipeline"]}]
    return {"$schema": DIALECT, "title": title, **schema}


def clean_schema(part: Any) -> Any:  # noqa: ANN401 - any value of JSON
    """Remove what pydantic invents or TOML lacks: titles, the docstrings of models, and null."""
    if isinstance(part, list):
        return [clean_schema(item) for item in part]
    if not isinstance(part, dict):
        return part
    cleaned: dict[str, Any] = {}
    for key, value in part.items():
        if key in ("properties", "$defs", "patternProperties"):
            cleaned[key] = {name: clean_schema(item) for name, item in value.items()}
        elif key not in ("title", "description"):
            cleaned[key] = clean_schema(value)
        elif key == "description" and "properties" not in part:
            cleaned[key] = value
    if cleaned.get("default", 0) is None:
        del cleaned["default"]
    choices = [choice for choice in cleaned.get("anyOf", ()) if choice != _NULL]
    if len(choices) == 1:
        del cleaned["anyOf"]
        cleaned = {**choices[0], **cleaned}
    elif choices:
        cleaned["anyOf"] = choices
    return cleaned


def _pipelines(hook: dict[str, Any]) -> dict[str, Any]:
    """The definitions of a pipeline and of a stage in a spec."""
    keys = _properties(Pipeline)
    name = {**_TEXT, "description": "its name"}
    takes = {"type": "array", "items": _record(ParamSpec, ParamTable, name=name)}
    return {
        "pipeline": _record(
            PipelineSpec,
            Pipeline,
            id={**_properties(Stage)["id"], "description": "the pipeline"},
            takes={**takes, "description": keys["params"]["description"]},
            hooks={"type": "array", "items": hook, "description": "its own hooks"},
            stages={"type": "array", "items": {"$ref": "#/$defs/stage"}},
        ),
        "stage": _record(StageSpec, Stage, retries=_record(RetrySpec, Retries)),
    }


def _record(record: type, model: type[BaseModel], **given: dict[str, Any]) -> dict[str, Any]:
    """The schema of a dataclass: the types of its fields, the descriptions of the model's keys."""
    known = _properties(model)
    properties: dict[str, Any] = {}
    required = []
    fields: Mapping[str, Any] = record.__dict__["__dataclass_fields__"]
    for name, field in fields.items():
        key = known.get(name, {})
        shared = {part: key[part] for part in ("pattern", "description") if part in key}
        if isinstance(key.get("items", {}).get("type"), str):
            shared["items"] = key["items"]
        properties[name] = {**shared, **given[name]} if name in given else JSON[field.type] | shared
        if field.type in _REQUIRED or name in ("retries", "stages"):
            required.append(name)
        if name in _EXACT:
            what = f"the bytes of {name}, if they are not UTF-8"
            properties[f"{name}_bytes"] = {**_EXACT[name], "description": what}
    return {"type": "object", "required": required, "properties": properties}


def _properties(model: type[BaseModel]) -> dict[str, Any]:
    """The keys of a model, each with its schema."""
    properties: dict[str, Any] = clean_schema(model.model_json_schema())["properties"]
    return properties


def _limits() -> dict[str, Any]:
    known = _properties(SettingsTable)
    return {
        "type": "object",
        "required": list(Limits.__dataclass_fields__),
        "properties": {
            name: {**JSON[field.type], "description": known[name]["description"]}
            for name, field in Limits.__dataclass_fields__.items()
        },
    }
