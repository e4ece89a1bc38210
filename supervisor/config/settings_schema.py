"""The range and the meaning of every setting, as a pydantic model. It checks; it is not used on."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from supervisor.config.settings import Launcher, Settings
from workers.records.ids import id_problem

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_DAY_S: Final = 86_400.0
_DEFAULT: Final = Settings()

Seconds = Annotated[float, Field(gt=0, le=365 * _DAY_S, allow_inf_nan=False)]
Runs = Annotated[int, Field(ge=1, le=100_000)]
Bytes = Annotated[int, Field(ge=1024, le=1 << 30)]


def _task(value: str) -> str:
    why = id_problem(value)
    if why is not None:
        raise ValueError(f"{value!r} {why}")
    return value


def _secrets(value: list[str]) -> list[str]:
    for place, name in enumerate(value):
        if not _VARIABLE.fullmatch(name):  # never shown: it may be the secret itself
            raise ValueError(
                f"entry {place} is not the name of an environment variable: use A-Z a-z 0-9 _ . -, "
                "and a comma between names"
            )
    return value


def _text(value: str) -> str:
    """Refuse what no file, address or argument can be."""
    if not value:
        raise ValueError("must not be empty")
    if "\0" in value:
        raise ValueError("must not contain a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("is not UTF-8 text") from None
    return value


def _hook(value: str | list[str]) -> str | list[str]:
    words = [value] if isinstance(value, str) else value
    if not words or not words[0].strip():
        raise ValueError("must be a text for /bin/sh, or a program and its arguments")
    for word in filter(None, words):  # an argument may be empty
        _text(word)
    return value


Text = Annotated[str, AfterValidator(_text), Field(min_length=1)]
Hook = Annotated[str | list[str], AfterValidator(_hook)]


class SettingsTable(BaseModel):
    """``[supervisor]``; times in seconds, sizes in bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    max_runs: int = Field(_DEFAULT.max_runs, ge=1, le=100_000, description="runs at once")
    default_task: Annotated[str, AfterValidator(_task)] = Field(
        _DEFAULT.default_task, description="task of a run that names none"
    )
    groups: dict[Annotated[str, AfterValidator(_task)], Runs] = Field(
        _DEFAULT.groups, description="runs at once of each concurrency group"
    )
    slots: dict[Annotated[str, AfterValidator(_task)], Runs] = Field(
        _DEFAULT.slots, description="how many there are of each slot that stages use"
    )
    batch: Text | None = Field(_DEFAULT.batch, description="what a bare `supervisor start` runs")
    history_limit: int = Field(
        _DEFAULT.history_limit, ge=1, le=1_000_000, description="runs in state.json"
    )
    launcher: Launcher = Field(_DEFAULT.launcher, description="how workers are started")
    dask_scheduler: Text | None = Field(
        _DEFAULT.dask_scheduler, description="address of the scheduler that places runs"
    )
    slurm_options: list[Text] = Field(
        _DEFAULT.slurm_options, description="more words for every `sbatch`"
    )
    secrets: Annotated[list[str], AfterValidator(_secrets)] = Field(
        _DEFAULT.secrets, description="variables whose values are masked"
    )
    lock_attempts: int = Field(
        _DEFAULT.lock_attempts, ge=1, le=100, description="tries at a task's lock"
    )
    lock_delay_s: Seconds = Field(
        _DEFAULT.lock_delay_s, description="longest wait after the first try"
    )
    lock_factor: float = Field(_DEFAULT.lock_factor, ge=1, le=10, description="growth of that wait")
    lock_max_delay_s: Seconds = Field(
        _DEFAULT.lock_max_delay_s, description="longest wait between two tries"
    )
    owed_wait_s: float = Field(
        _DEFAULT.owed_wait_s, ge=0, le=_DAY_S, description="`--once` waits so long for it"
    )
    heartbeat_interval_s: Seconds = Field(_DEFAULT.heartbeat_interval_s, description="of a beat")
    heartbeat_stale_after_s: Seconds = Field(
        _DEFAULT.heartbeat_stale_after_s, description="then a worker is unresponsive"
    )
    hung_after_s: Seconds = Field(
        _DEFAULT.hung_after_s, description="then it is killed, after three looks"
    )
    manifest_throttle_s: Seconds = Field(
        _DEFAULT.manifest_throttle_s, description="between two writes for beats alone"
    )
    write_deadline_s: Seconds = Field(_DEFAULT.write_deadline_s, description="a longer one is told")
    stream_limit_bytes: Bytes = Field(_DEFAULT.stream_limit_bytes, description="a log, at most")
    error_detail_limit_bytes: Annotated[int, Field(ge=64, le=1 << 20)] = Field(
        _DEFAULT.error_detail_limit_bytes, description="a stream's end in an error file, at most"
    )
    error_file_limit_bytes: Annotated[int, Field(ge=4096, le=1 << 21)] = Field(
        _DEFAULT.error_file_limit_bytes, description="an error file on disk, at most"
    )
    grace_s: Seconds = Field(_DEFAULT.grace_s, description="between terminate and kill")
    on_success: Hook | None = Field(
        _DEFAULT.on_success, description="started when a run has succeeded"
    )
    on_failure: Hook | None = Field(
        _DEFAULT.on_failure, description="started when a run has failed"
    )
    on_finish: Hook | None = Field(
        _DEFAULT.on_finish, description="started, last, when a run has ended"
    )
    hook_timeout_s: Seconds = Field(_DEFAULT.hook_timeout_s, description="then a hook is ended")
    metrics_textfile: Text | None = Field(
        _DEFAULT.metrics_textfile, description="figures for Prometheus are written there"
    )
    keep_runs: int | None = Field(
        _DEFAULT.keep_runs, ge=0, description="`gc` keeps so many runs of a task"
    )
    keep_days: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        _DEFAULT.keep_days, description="`gc` keeps runs that ended at most so many days ago"
    )
    keep_bytes: int | None = Field(
        _DEFAULT.keep_bytes, ge=0, description="`gc` keeps so much of a task on disk"
    )
