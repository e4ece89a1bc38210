"""The shape of what people write in TOML, as pydantic models. They check; they are not used on.

Beyond types they hold what a worker could only find out too late: ids that may not be file names,
a stage that runs nothing, waits that are no numbers.
"""

import re
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from supervisor.config.param_values import text_of
from workers.records.ids import ID_PATTERN, id_problem
from workers.records.limits import PRIORITY_LIMIT

STAGES_LIMIT_COUNT = 10_000  # fault V11
COUNT_LIMIT = 10_000
AMOUNT_LIMIT = 1e15  # bytes of memory of the largest host, a thousandfold
YEAR_S = 365 * 86_400.0
RESERVED = "SUPERVISED_"  # docs/reference; run ids in it are how processes are found
_PARAM: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


def _id(value: str) -> str:
    why = id_problem(value)
    if why is not None:
        raise ValueError(
            f"{value!r} {why}: use up to 100 of the characters A-Z a-z 0-9 . _ -, "
            "beginning with a letter or a digit"
        )
    return value


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain a NUL character")
    return value


def _environment(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if not name or "=" in name or "\0" in name:
            raise ValueError(f"{name!r} cannot be the name of an environment variable")
        if "\0" in text:
            raise ValueError(f"the value of {name} must not contain a NUL character")
        if name.startswith(RESERVED):
            raise ValueError(f"{name} is set by the supervisor; choose a name without {RESERVED}")
    return value


def _param(value: str) -> str:
    if not _PARAM.fullmatch(value):
        raise ValueError(
            f"{value!r} cannot be the name of a param: use up to 64 of the characters "
            "A-Z a-z 0-9 _, beginning with a letter"
        )
    return value


def _scalar(value: object) -> object:
    if not isinstance(value, str | int | float):
        raise ValueError("must be text, a number, or true or false")  # noqa: TRY004 - pydantic
    if isinstance(value, str):
        _no_nul(value)
    return value


def _amount(value: object) -> float:
    """As it is written: to an engine 1 and 1.0 may differ."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic
    if not 0 < value <= AMOUNT_LIMIT:
        raise ValueError(f"must be more than 0 and at most {AMOUNT_LIMIT:g}")
    return value


Id = Annotated[
    str, AfterValidator(_id), WithJsonSchema({"type": "string", "pattern": f"^{ID_PATTERN}$"})
]
Text = Annotated[str, AfterValidator(_no_nul)]
Words = Annotated[Text, Field(min_length=1)]
Environment = Annotated[dict[str, str], AfterValidator(_environment)]
Seconds = Annotated[float, Field(gt=0, le=YEAR_S, allow_inf_nan=False)]
Param = Annotated[str, AfterValidator(_param)]
Scalar = Annotated[
    object,
    BeforeValidator(_scalar),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
Amount = Annotated[
    float,
    PlainValidator(_amount),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": AMOUNT_LIMIT}),
]
ExitCode = Annotated[int, Field(ge=0, le=255)]


class Strict(BaseModel):
    """Unknown keys are errors, and nothing is converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _starts_something(value: str | list[str]) -> str | list[str]:
    if not (value if isinstance(value, str) else value[0]).strip():
        raise ValueError("must begin with the name of a program")
    return value


Hook = Annotated[
    Words | Annotated[list[Text], Field(min_length=1)], AfterValidator(_starts_something)
]


class Retries(Strict):
    """``retries = { attempts = 3, delay_s = 1.0 }``."""

    attempts: int = Field(ge=1, le=1000)
    delay_s: float = Field(1.0, ge=0, le=86_400, allow_inf_nan=False)
    factor: float = Field(2.0, ge=1, le=100, allow_inf_nan=False)
    max_delay_s: float = Field(60.0, ge=0, le=86_400, allow_inf_nan=False)
    on_exit_codes: list[ExitCode] | None = Field(None, min_length=1)


class Stage(Strict):
    """``[[pipelines.<id>.stages]]``."""

    id: Id
    title: Text | None = None
    command: Words | Annotated[list[Text], Field(min_length=1)] | None = None
    pipeline: Id | None = None
    params: dict[Param, Scalar] = {}
    cwd: Words | None = None
    env: Environment = {}
    timeout_s: Seconds | None = None
    allow_failure: bool = False
    optional: bool = False
    success_exit_codes: list[ExitCode] = Field(default=[0], min_length=1)
    summary_hint: Text | None = None
    retries: Retries | None = None
    needs: list[Id] | None = None
    uses: list[Id] = []

    @model_validator(mode="after")
    def _one_thing_to_do(self) -> Self:
        if (self.command is None) == (self.pipeline is None):
            raise ValueError("must have either `command` or `pipeline`")
        if isinstance(self.command, list) and not self.command[0]:
            raise ValueError("`command` must begin with the name of a program")
        if isinstance(self.command, str) and not self.command.strip():
            raise ValueError("`command` must not be empty")
        if self.pipeline is not None:
            wrong = {"retries", "success_exit_codes", "env", "cwd", "uses"} & self.model_fields_set
            if wrong:
                raise ValueError(f"`{min(wrong)}` is for commands; this stage runs a pipeline")
        elif self.params:
            raise ValueError("`params` are for a sub-pipeline; a command names {param.NAME}")
        for key, names in (("needs", self.needs or []), ("uses", self.uses)):
            if len(set(names)) < len(names):
                raise ValueError(f"`{key}` names one thing twice")
        return self


class ParamTable(Strict):
    """``[pipelines.<id>.params.<name>]``."""

    type: Literal["string", "integer", "number", "boolean"] = "string"
    choices: list[Scalar] | None = Field(None, min_length=1, max_length=1000)
    default: Scalar | None = None
    description: Text | None = None

    @model_validator(mode="after")
    def _values_are_of_the_type(self) -> Self:
        for key, values in (("choices", self.choices or []), ("default", [self.default])):
            for value in values:
                if value is not None and text_of(self.type, value) is None:
                    raise ValueError(f"`{key}` must be of the type {self.type}")
        texts = [text_of(self.type, value) for value in self.choices or ()]
        if self.default is not None and texts and text_of(self.type, self.default) not in texts:
            raise ValueError("`default` must be one of `choices`")
        return self


class Pipeline(Strict):
    """``[pipelines.<id>]``."""

    title: Text | None = None
    description: Text | None = None
    tags: list[Text] = []
    env: Environment = {}
    cwd: Words | None = None
    timeout_s: Seconds | None = None
    group: Id | None = None
    params: dict[Param, ParamTable] = {}
    on_success: Hook | None = None
    on_failure: Hook | None = None
    on_finish: Hook | None = None
    max_parallel: int | None = Field(None, ge=1, le=STAGES_LIMIT_COUNT)
    resources: dict[Id, Amount] = {}
    stages: list[Stage] = Field(min_length=1, max_length=STAGES_LIMIT_COUNT)

    @model_validator(mode="after")
    def _params_have_variables_of_their_own(self) -> Self:
        seen: set[str] = set()
        for name in self.params:
            if name.upper() in seen:
                raise ValueError(f"two params are called {name!r} (case is ignored)")
            seen.add(name.upper())
        return self

    @model_validator(mode="after")
    def _stages_have_names_of_their_own(self) -> Self:
        seen: set[str] = set()
        for stage in self.stages:
            if stage.id.lower() in seen:
                raise ValueError(f"two stages are called {stage.id!r} (case is ignored)")
            seen.add(stage.id.lower())
        return self


class BatchRun(Strict):
    """``[[runs]]`` of a batch."""

    pipeline: Id
    task: Id | None = None
    count: int = Field(1, ge=1, le=COUNT_LIMIT)
    params: dict[Param, Scalar] = {}
    priority: int = Field(0, ge=-PRIORITY_LIMIT, le=PRIORITY_LIMIT)
    group: Id | None = None


class ConfigFile(Strict):
    """``config/supervisor.toml``; its ``[supervisor]`` is looked at by the settings."""

    supervisor: dict[str, object] = {}
    pipelines: dict[Id, Pipeline] = {}


class BatchFile(Strict):
    """A batch."""

    runs: list[BatchRun] = Field(min_length=1)
    pipelines: dict[Id, Pipeline] = {}


KEYS = sorted(
    {
        key
        for model in (ConfigFile, BatchFile, Pipeline, ParamTable, Stage, Retries, BatchRun)
        for key in model.model_fields
    }
)
