"""Reading settings: option > SUPERVISOR_<KEY> > project file > user file > default.

pydantic-settings merges the sources. Each is checked by itself before, so that an error names its
file or its variable. No error message contains a value.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from types import NoneType
from typing import Annotated, Any, Final, get_args, get_origin

from pydantic import ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource

from supervisor.config.config_files import read_toml
from supervisor.config.find_root import PATHS, PREFIX, absolute, is_json, user_file
from supervisor.config.models import SettingsTable
from supervisor.config.settings import Settings, unfit
from supervisor.config.suggest import near
from supervisor.config.validation_errors import problems_of
from supervisor.errors import ConfigError, Problem

# Not settings: our own variables, and those that supervisord sets for its children.
_NOT_OURS: Final = (
    "ROOT",
    "TRUSTED_DIRS",
    "CONFIG",
    "ENABLED",
    "PROCESS_NAME",
    "GROUP_NAME",
    "SERVER_URL",
)
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,30}")  # longer numbers are beyond every range
_COUNTED: Final = ("groups", "slots")


def load_settings(
    *, flags: Mapping[str, Any], project: str | None, environ: Mapping[str, str]
) -> Settings:
    """Read all sources.

    Args:
        flags: settings from the command line.
        project: the project's file, None if there is none.
        environ: the environment.

    Raises:
        ConfigError: every problem of every source, with its file or variable.
    """
    tables: list[dict[str, Any]] = []
    paths: list[str] = []
    problems: list[Problem] = []
    for path in (project, user_file(environ)):
        table = {} if path is None or is_json(path) else read_toml(path).get("supervisor", {})
        if isinstance(table, dict):
            problems += _check(str(path), "supervisor.", table)
            tables.append(_placed(table, os.path.dirname(str(path))))
            paths.append(str(path))
        else:
            problems.append(Problem(str(path), "supervisor", "must be a table"))
    variables, unread = _from_environment(environ)
    variables |= {key: absolute(variables[key]) for key in PATHS if key in variables}
    problems += unread
    problems += _check("environment", "", variables)
    problems += _check("command line", "", flags)
    if problems:
        raise ConfigError(problems=problems)
    settings = _merged(flags, variables, *tables)
    for keys, what in (*unfit(settings), *_directories(settings)):
        problems.append(_blame(keys, what, flags, variables, list(zip(paths, tables, strict=True))))
    if problems:
        raise ConfigError(problems=problems)
    return settings


def _placed(values: dict[str, Any], folder: str) -> dict[str, Any]:
    """Make paths absolute; they are relative to the file that contains them."""
    paths = {key: values[key] for key in PATHS if isinstance(values.get(key), str)}
    return {**values, **{key: os.path.join(folder, path) for key, path in paths.items()}}


def _directories(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Find settings that must name a file and name a directory; as ``unfit``."""
    for key in PATHS:
        path = getattr(settings, key)
        if path is not None and os.path.isdir(path):
            yield (key,), f"{path} is a directory; name a file"


def _blame(
    keys: tuple[str, ...],
    what: str,
    flags: Mapping[str, Any],
    variables: Mapping[str, Any],
    files: list[tuple[str, dict[str, Any]]],
) -> Problem:
    """Report a problem of merged settings for the strongest source that sets one of the keys."""
    for key in keys:
        if key in flags:
            return Problem("command line", key, what)
        if key in variables:
            return Problem(f"{PREFIX}{key.upper()}", "", what)
        for path, table in files:
            if key in table:
                return Problem(path, f"supervisor.{key}", what)
    return Problem("settings", keys[0], what)


def _merged(*sources: Mapping[str, Any]) -> Settings:
    """Let pydantic-settings merge checked sources, the strongest first; tables name by name."""

    class Merged(SettingsTable, BaseSettings):  # type: ignore[misc, valid-type]
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            """Only our sources; never `.env`."""
            return tuple(
                InitSettingsSource(settings_cls, init_kwargs=dict(source)) for source in sources
            )

    return Settings(**Merged().model_dump())


def _check(source: str, prefix: str, values: Mapping[str, Any]) -> list[Problem]:
    """Check each key of a source by itself; ``unfit`` checks how the merged keys fit together."""
    problems = []
    for key, value in values.items():
        try:
            SettingsTable.__pydantic_validator__.validate_assignment(
                SettingsTable.model_construct(), key, value
            )
        except ValidationError as error:
            for problem in problems_of(error, source, prefix, Settings.__dataclass_fields__):
                if not problem.key_path.removeprefix(prefix.rstrip(".")):
                    continue
                if source == "environment":
                    problem = Problem(f"{PREFIX}{key.upper()}", "", problem.message)
                problems.append(problem)
    return problems


def _from_environment(environ: Mapping[str, str]) -> tuple[dict[str, Any], list[Problem]]:
    """Read SUPERVISOR_<KEY> as the key's type; report unknown names that look like a typo."""
    values: dict[str, Any] = {}
    problems = []
    for name, text in environ.items():
        if not name.startswith(PREFIX) or text == "":
            continue
        upper = name[len(PREFIX) :]
        key = upper.lower()
        if key in Settings.__dataclass_fields__:
            typed = _typed(key, text)
            if typed is None:
                kinds = {int: "an integer", float: "a number"}
                listed = 'names of environment variables: A,B or ["A", "B"]'
                kind = kinds.get(_annotation(key), listed)
                kind = "names with their numbers: gpu=2,disk=4" if key in _COUNTED else kind
                problems.append(Problem(name, "", f"must be {kind}"))
            else:
                values[key] = typed
        elif upper not in _NOT_OURS and (hint := near(key, Settings.__dataclass_fields__)):
            fix = f"is no setting; did you mean '{PREFIX}{hint.upper()}'?"
            problems.append(Problem(name, "", fix))
    return values, problems


def _annotation(key: str) -> Any:  # noqa: ANN401 - a type
    kind = SettingsTable.model_fields[key].annotation
    choices = [choice for choice in get_args(kind) if choice is not NoneType]
    kind = choices[0] if NoneType in get_args(kind) and len(choices) == 1 else kind
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _typed(key: str, text: str) -> Any:  # noqa: ANN401 - as the key is
    kind = _annotation(key)
    if kind is int:
        return int(text) if _WHOLE.fullmatch(text.strip()) else None
    if kind is float:
        try:
            return float(text)
        except ValueError:
            return None
    if key in _COUNTED:
        pairs = [item.partition("=") for item in text.split(",")]
        limits = {name.strip(): limit.strip() for name, _, limit in pairs}
        if len(limits) < len(pairs) or not all(map(_WHOLE.fullmatch, limits.values())):
            return None
        return {name: int(limit) for name, limit in limits.items()}
    if key == "secrets" and text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return None
    if key == "secrets":
        return [item.strip() for item in text.split(",") if item.strip()]
    return text
