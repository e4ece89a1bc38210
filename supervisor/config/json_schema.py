"""JSON Schemas (draft 2020-12) of what people write, made from the models that check it.

TOML has no null, so what may be left out is said by not being required; a default that is not none
is told. What only the models' own code holds (an id that ends in ``.lock``, a circle of pipelines)
is found by ``validate`` and not by an editor.
"""

from typing import Any, Final

from pydantic import BaseModel

from supervisor.config.key_help import DESCRIBED
from supervisor.config.models import BatchFile, ConfigFile
from supervisor.config.settings_schema import SettingsTable

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_NULL: Final = {"type": "null"}


def config_schema() -> dict[str, Any]:
    """The schema of ``config/supervisor.toml``."""
    schema = _schema_of(ConfigFile, "config/supervisor.toml: settings and pipelines")
    settings = _clean(SettingsTable.model_json_schema())
    schema["$defs"] = {**schema.get("$defs", {}), **settings.pop("$defs", {})}
    described = schema["properties"]["supervisor"]["description"]
    schema["properties"]["supervisor"] = {**settings, "description": described}
    return schema


def batch_schema() -> dict[str, Any]:
    """The schema of a batch."""
    return _schema_of(BatchFile, "a batch: runs to make together")


def _schema_of(model: type[BaseModel], title: str) -> dict[str, Any]:
    schema: dict[str, Any] = _clean(model.model_json_schema())
    for name, part in ((model.__name__, schema), *schema.get("$defs", {}).items()):
        for key, text in DESCRIBED.get(name, {}).items():
            part["properties"][key]["description"] = text
    stage = schema.get("$defs", {}).get("Stage")
    if stage is not None:
        stage["oneOf"] = [{"required": ["command"]}, {"required": ["pipeline"]}]
    schema.pop("title", None)
    return {"$schema": DIALECT, "title": title, **schema}


def _clean(part: Any) -> Any:  # noqa: ANN401 - any value of JSON
    """Leave out what says nothing: made-up titles, null as an alternative and as a default."""
    if isinstance(part, list):
        return [_clean(item) for item in part]
    if not isinstance(part, dict):
        return part
    found: dict[str, Any] = {}
    for key, value in part.items():
        if key in ("properties", "$defs", "patternProperties"):
            found[key] = {name: _clean(item) for name, item in value.items()}
        elif key not in ("title", "description"):
            found[key] = _clean(value)
        elif key == "description" and "properties" not in part:
            found[key] = value
    if found.get("default", 0) is None:
        del found["default"]
    choices = [choice for choice in found.get("anyOf", ()) if choice != _NULL]
    if len(choices) == 1:
        del found["anyOf"]
        found = {**choices[0], **found}
    elif choices:
        found["anyOf"] = choices
    return found
