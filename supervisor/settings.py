"""Settings: flag > SUPERVISOR_<KEY> > project file > user file > default, by pydantic-settings.

Every key, its unit, default and source stand here; ``config/supervisor.toml`` repeats them for
operators and a test holds the two equal. Environment values never appear in an error message.
"""

import os
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource

from supervisor.errors import ConfigError, Problem
from supervisor.plan.problems import near, problems_of
from supervisor.plan.root import CONFIG
from supervisor.plan.sources import is_json, read_toml
from workers.records.ids import why_bad
from workers.records.limits import Limits

PREFIX: Final = "SUPERVISOR_"
# Not settings: where to begin, and what supervisord puts into the environment of its children.
_NOT_OURS: Final = ("ROOT", "CONFIG", "ENABLED", "PROCESS_NAME", "GROUP_NAME", "SERVER_URL")
_DAY_S: Final = 86_400.0
_LIMITS: Final = Limits()

Seconds = Annotated[float, Field(gt=0, le=365 * _DAY_S, allow_inf_nan=False)]
Bytes = Annotated[int, Field(ge=1024, le=1 << 30)]


class Settings(BaseModel):
    """All settings, checked; times in seconds, sizes in bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    max_runs: int = Field(50, ge=1, le=100_000, description="runs at once")
    default_task: str = Field("default", description="task of a run that names none")
    batch: str | None = Field(None, description="what a bare `supervisor start` runs")
    history_limit: int = Field(1000, ge=1, le=1_000_000, description="runs in state.json")
    launcher: Literal["exec"] = Field("exec", description="how workers are started")
    secrets: list[str] = Field(default=[], description="variables whose values are masked")
    lock_attempts: int = Field(5, ge=1, le=100, description="tries at a task's lock")
    lock_delay_s: Seconds = Field(0.1, description="longest wait after the first try")
    lock_factor: float = Field(2.0, ge=1, le=10, description="growth of that wait")
    lock_max_delay_s: Seconds = Field(1.0, description="longest wait between two tries")
    owed_wait_s: float = Field(60.0, ge=0, le=_DAY_S, description="`--once` waits so long for it")
    heartbeat_interval_s: Seconds = Field(_LIMITS.heartbeat_interval_s, description="of a beat")
    heartbeat_stale_after_s: Seconds = Field(
        _LIMITS.heartbeat_stale_after_s, description="then a worker is unresponsive"
    )
    hung_after_s: Seconds = Field(120.0, description="then it is killed, after three looks")
    manifest_throttle_s: Seconds = Field(30.0, description="between two writes for beats alone")
    write_deadline_s: Seconds = Field(_LIMITS.write_deadline_s, description="a longer one is told")
    stream_limit_bytes: Bytes = Field(_LIMITS.stream_limit_bytes, description="a log, at most")
    error_detail_limit_bytes: Annotated[int, Field(ge=64, le=1 << 20)] = Field(
        _LIMITS.error_detail_limit_bytes, description="a stream's end in an error file, at most"
    )
    error_file_limit_bytes: Annotated[int, Field(ge=4096, le=1 << 21)] = Field(
        _LIMITS.error_file_limit_bytes, description="an error file on disk, at most"
    )
    grace_s: Seconds = Field(_LIMITS.grace_s, description="between terminate and kill")

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.heartbeat_stale_after_s <= self.heartbeat_interval_s:
            raise ValueError("heartbeat_stale_after_s must be more than heartbeat_interval_s")
        if self.hung_after_s <= self.heartbeat_stale_after_s:
            raise ValueError("hung_after_s must be more than heartbeat_stale_after_s")
        why = why_bad(self.default_task)
        if why is not None:
            raise ValueError(f"default_task {self.default_task!r} {why}")
        bad = [name for name in self.secrets if not name or "=" in name or "\0" in name]
        if bad:
            raise ValueError(f"secrets must be names of environment variables, not {bad[0]!r}")
        return self


def limits_of(settings: Settings) -> Limits:
    """What workers hold themselves to."""
    return Limits(**{name: getattr(settings, name) for name in Limits.__dataclass_fields__})


def project_file(root: str, config: str | None) -> str | None:
    """The project's configuration: ``--config``, else the usual place if it is there."""
    if config is not None:
        return os.path.abspath(config)
    path = os.path.join(root, CONFIG)
    return path if os.path.lexists(path) else None


def user_file(environ: Mapping[str, str]) -> str | None:
    """The operator's own configuration, if it is there."""
    base = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", "/"), ".config")
    path = os.path.join(base, "pipeline-supervisor", "supervisor.toml")
    return path if os.path.lexists(path) else None


def load_settings(
    *, flags: Mapping[str, Any], project: str | None, environ: Mapping[str, str]
) -> Settings:
    """Read all sources.

    Args:
        flags: settings from the command line.
        project: the project's file, None where there is none.
        environ: the environment.

    Raises:
        ConfigError: everything that is wrong in any source; each names its file or variable.
    """
    tables: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for path in (project, user_file(environ)):
        table = {} if path is None or is_json(path) else read_toml(path).get("supervisor", {})
        if isinstance(table, dict):
            problems += _check(str(path), "supervisor.", table)
            tables.append(table)
        else:
            problems.append(Problem(str(path), "supervisor", "must be a table"))
    variables, found = _from_environment(environ)
    problems += found
    problems += _check("environment", "", variables)
    problems += _check("command line", "", flags)
    if problems:
        raise ConfigError(problems=problems)
    try:
        return _merge(flags, [variables, *tables])
    except ValidationError as error:
        where = project or "environment and command line"
        raise ConfigError(problems=problems_of(error, where, "supervisor.", _keys())) from None


def _merge(flags: Mapping[str, Any], sources: list[dict[str, Any]]) -> Settings:
    """Let pydantic-settings put the sources above each other, the first on top."""

    class Merged(Settings, BaseSettings):  # type: ignore[misc]  # both only add to ConfigDict
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            """Flags, our reading of the environment, project file, user file; never `.env`."""
            below = [InitSettingsSource(settings_cls, init_kwargs=source) for source in sources]
            return (init_settings, *below)

    return Merged(**flags)


def _keys() -> tuple[str, ...]:
    return tuple(Settings.model_fields)


def _check(source: str, prefix: str, values: Mapping[str, Any]) -> list[Problem]:
    """Each key by itself; how keys fit together is looked at when all sources are merged."""
    found = []
    for key, value in values.items():
        try:
            Settings.__pydantic_validator__.validate_assignment(
                Settings.model_construct(), key, value
            )
        except ValidationError as error:
            for problem in problems_of(error, source, prefix, _keys()):
                if not problem.key_path.removeprefix(prefix.rstrip(".")):
                    continue
                if source == "environment":
                    problem = Problem(f"{PREFIX}{key.upper()}", "", problem.message)
                found.append(problem)
    return found


def _from_environment(environ: Mapping[str, str]) -> tuple[dict[str, Any], list[Problem]]:
    """What SUPERVISOR_<KEY> says, typed as the key is; unknown names that look like a typo."""
    values: dict[str, Any] = {}
    problems = []
    for name, text in environ.items():
        if not name.startswith(PREFIX) or text == "":
            continue
        word = name[len(PREFIX) :]
        key = word.lower()
        if key in Settings.model_fields:
            typed = _typed(key, text)
            if typed is None:
                kind = "a whole number" if _annotation(key) is int else "a number"
                problems.append(Problem(name, "", f"must be {kind}"))
            else:
                values[key] = typed
        elif word not in _NOT_OURS and (hint := near(key, _keys())):
            mend = f"is no setting; did you mean '{PREFIX}{hint.upper()}'?"
            problems.append(Problem(name, "", mend))
    return values, problems


def _annotation(key: str) -> Any:  # noqa: ANN401 - a type
    return Settings.model_fields[key].annotation


def _typed(key: str, text: str) -> Any:  # noqa: ANN401 - as the key is
    kind = _annotation(key)
    try:
        if kind is int:
            return int(text)
        if kind is float:
            return float(text)
    except ValueError:
        return None
    if key == "secrets":
        return [word.strip() for word in text.split(",") if word.strip()]
    return text
