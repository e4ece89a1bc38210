"""The configuration files as pydantic models: every key with its type, range and description.

The models check what people write; the program works with ``Settings`` and the specs of
``workers.records.spec``. ``supervisor schema`` and docs/reference/settings.md are generated from
them. They also refuse what a worker could only find out too late: ids that cannot be file names, a
stage that runs nothing, waits that are not numbers.
"""

import operator
import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
    create_model,
    model_validator,
)

from supervisor.config.param_values import text_of
from supervisor.config.settings import YEAR_S, Settings
from workers.records.ids import ID_PATTERN, id_problem
from workers.records.limits import PRIORITY_LIMIT

STAGES_LIMIT_COUNT = 10_000  # fault V11
COUNT_LIMIT = 10_000
AMOUNT_LIMIT = 1e15  # bytes of memory of the largest host, a thousandfold
RESERVED = "SUPERVISED_"  # docs/reference; run ids in such variables identify processes
_PARAM: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


def _id(value: str) -> str:
    reason = id_problem(value)
    if reason is not None:
        raise ValueError(
            f"{value!r} {reason}: use up to 100 of the characters A-Z a-z 0-9 . _ -, "
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
        raise ValueError("must be a string, a number, or true or false")  # noqa: TRY004 - pydantic
    return _no_nul(value) if isinstance(value, str) else value


def _amount(value: object) -> float:
    """Keep the number as it is written: to an engine 1 and 1.0 may differ."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic
    if not 0 < value <= AMOUNT_LIMIT:
        raise ValueError(f"must be more than 0 and at most {AMOUNT_LIMIT:g}")
    return value


def _names_a_program(value: str | list[str]) -> str | list[str]:
    if not (value if isinstance(value, str) else value[0]).strip():
        raise ValueError("must begin with the name of a program")
    return value


Id = Annotated[
    str, AfterValidator(_id), WithJsonSchema({"type": "string", "pattern": f"^{ID_PATTERN}$"})
]
Text = Annotated[str, AfterValidator(_no_nul)]
FilledText = Annotated[Text, Field(min_length=1)]
Command = FilledText | Annotated[list[Text], Field(min_length=1)]
Hook = Annotated[Command, AfterValidator(_names_a_program)]
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


def _added(default: Any = None, **about: Any) -> Any:  # noqa: ANN401 - as pydantic's Field
    """A key that a release added: without it the digest of a batch is the one of older releases."""
    return Field(default, exclude_if=operator.not_, **about)


class Retries(Strict):
    """``retries = { attempts = 3, delay_s = 1.0 }``."""

    attempts: int = Field(ge=1, le=1000, description="tries in total, including the first")
    delay_s: float = Field(
        1.0, ge=0, le=86_400, allow_inf_nan=False, description="seconds before the second try"
    )
    factor: float = Field(
        2.0, ge=1, le=100, allow_inf_nan=False, description="growth of the wait with each try"
    )
    max_delay_s: float = Field(
        60.0, ge=0, le=86_400, allow_inf_nan=False, description="longest wait, in seconds"
    )
    on_exit_codes: list[ExitCode] | None = Field(
        None, min_length=1, description="exit codes to retry; default: every failure"
    )


class Stage(Strict):
    """``[[pipelines.<id>.stages]]``."""

    id: Id = Field(description="names the stage and its files; unique, ignoring case")
    title: Text | None = Field(None, description="shown to people; default: the id")
    command: Command | None = Field(
        None, description="a string for /bin/sh -c, or a program and its arguments"
    )
    pipeline: Id | None = Field(
        None, description="instead of `command`: a pipeline to run as a run of its own"
    )
    params: dict[Param, Scalar] = Field(
        {}, description="parameters of the sub-pipeline; {param.NAME} is one of this pipeline's"
    )
    cwd: FilledText | None = Field(
        None, description="working directory, relative to the root; default: the pipeline's"
    )
    env: Environment = Field({}, description="variables; they override the pipeline's")
    timeout_s: Seconds | None = Field(
        None, description="seconds that one try may take; default: no limit"
    )
    allow_failure: bool = Field(
        default=False, description="record a failure as skipped and continue the run"
    )
    optional: bool = Field(default=False, description="the same as `allow_failure`")
    success_exit_codes: list[ExitCode] = Field(
        [0], min_length=1, description="exit codes that mean success"
    )
    summary_hint: Text | None = Field(None, description="summary of a success")
    retries: Retries | None = Field(None, description="when to retry a failed try")
    needs: list[Id] | None = Field(
        None, description="stages that must succeed first; default: the one before it"
    )
    uses: list[Id] = Field(
        [], description="slots that it holds while it runs; [supervisor.slots] declares them"
    )
    nice: int | None = _added(
        ge=0, le=19, description="niceness added to its processes, as with nice(1); default: 0"
    )

    @model_validator(mode="after")
    def _one_thing_to_do(self) -> Self:
        if (self.command is None) == (self.pipeline is None):
            raise ValueError("must have either `command` or `pipeline`")
        if isinstance(self.command, list) and not self.command[0]:
            raise ValueError("`command` must begin with the name of a program")
        if isinstance(self.command, str) and not self.command.strip():
            raise ValueError("`command` must not be empty")
        if self.pipeline is not None:
            commands = {"retries", "success_exit_codes", "env", "cwd", "uses", "nice"}
            wrong = commands & self.model_fields_set
            if wrong:
                raise ValueError(f"`{min(wrong)}` is for commands; this stage runs a pipeline")
        elif self.params:
            raise ValueError("`params` are for a sub-pipeline; a command names {param.NAME}")
        for key, names in (("needs", self.needs or []), ("uses", self.uses)):
            if len(set(names)) < len(names):
                raise ValueError(f"`{key}` contains a name twice")
        return self


class ParamTable(Strict):
    """``[pipelines.<id>.params.<name>]``."""

    type: Literal["string", "integer", "number", "boolean"] = Field(
        "string", description="type of its value"
    )
    choices: list[Scalar] | None = Field(
        None, min_length=1, max_length=1000, description="values that it accepts; default: all"
    )
    default: Scalar | None = Field(None, description="default value; without one it is required")
    description: Text | None = Field(None, description="shown to people")

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

    title: Text | None = Field(None, description="shown to people; default: the id")
    description: Text | None = Field(None, description="shown to people")
    tags: list[Text] = Field([], description="shown to people")
    env: Environment = Field({}, description="variables of every stage")
    cwd: FilledText | None = Field(
        None, description="working directory of its stages, relative to the root"
    )
    timeout_s: Seconds | None = Field(
        None, description="seconds that a run may take; default: no limit"
    )
    group: Id | None = Field(
        None, description="concurrency group of its runs; [supervisor.groups] declares it"
    )
    params: dict[Param, ParamTable] = Field({}, description="parameters that it declares, by name")
    on_success: Hook | None = Field(None, description="command to start after a run succeeded")
    on_failure: Hook | None = Field(None, description="command to start after a run failed")
    on_finish: Hook | None = Field(
        None, description="command to start last, after any run finished"
    )
    max_parallel: int | None = Field(
        None, ge=1, le=STAGES_LIMIT_COUNT, description="stages at once; default: no limit"
    )
    resources: dict[Id, Amount] = Field(
        {},
        description="amounts that a run takes of a host of Dask or Slurm, by name; "
        "default: one slot of Dask, one task of Slurm",
    )
    stages: list[Stage] = Field(
        min_length=1,
        max_length=STAGES_LIMIT_COUNT,
        description="stages, run in this order unless they have `needs`",
    )

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        stages = [stage.id for stage in self.stages]
        for kind, names in (("params", list(self.params)), ("stages", stages)):
            seen: set[str] = set()
            for name in names:
                if name.lower() in seen:
                    raise ValueError(f"two {kind} are called {name!r} (case is ignored)")
                seen.add(name.lower())
        return self


class BatchRun(Strict):
    """``[[runs]]`` of a batch."""

    pipeline: Id = Field(description="id of the pipeline to run")
    task: Id | None = Field(None, description="task of the runs; default: `default_task`")
    count: int = Field(1, ge=1, le=COUNT_LIMIT, description="number of runs")
    params: dict[Param, Scalar] = Field({}, description="values of the parameters, by name")
    priority: int = Field(
        0, ge=-PRIORITY_LIMIT, le=PRIORITY_LIMIT, description="a higher number starts first"
    )
    group: Id | None = Field(None, description="concurrency group; default: the pipeline's")


class ConfigFile(Strict):
    """``config/supervisor.toml``; ``load_settings`` checks its ``[supervisor]``."""

    supervisor: dict[str, object] = Field(
        {}, description="settings; an option or a variable SUPERVISOR_<KEY> overrides them"
    )
    pipelines: dict[Id, Pipeline] = Field({}, description="pipelines by id")


class BatchFile(Strict):
    """A batch."""

    runs: list[BatchRun] = Field(min_length=1, description="runs to start together")
    pipelines: dict[Id, Pipeline] = Field(
        {}, description="pipelines of this batch, in addition to the project's"
    )


_CHECKED: Final[dict[str, Any]] = {
    key: (
        field.type,
        Field(
            getattr(Settings(), key),
            description=field.metadata["description"],
            **field.metadata["bounds"],
        ),
    )
    for key, field in Settings.__dataclass_fields__.items()
}
SettingsTable: Final = create_model("SettingsTable", __base__=Strict, **_CHECKED)
"""``[supervisor]``: ``Settings`` as a model."""

KEYS = sorted(
    {
        key
        for model in (ConfigFile, BatchFile, Pipeline, ParamTable, Stage, Retries, BatchRun)
        for key in model.model_fields
    }
)
