"""Settings: every key, its unit, its default and its range.

``config/supervisor.toml`` repeats them for operators and a test holds the two equal. How the
sources stand above each other is in ``plan.load_settings``.
"""

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from supervisor.core.backoff import Backoff
from workers.records.ids import why_bad
from workers.records.limits import Limits

_DAY_S: Final = 86_400.0
_LIMITS: Final = Limits()

Seconds = Annotated[float, Field(gt=0, le=365 * _DAY_S, allow_inf_nan=False)]
Runs = Annotated[int, Field(ge=1, le=100_000)]
Bytes = Annotated[int, Field(ge=1024, le=1 << 30)]


LOCK_WAIT_LIMIT_S: Final = 3.0  # docs/reference: a held lock costs no more


def _task(value: str) -> str:
    why = why_bad(value)
    if why is not None:
        raise ValueError(f"{value!r} {why}")
    return value


def _secrets(value: list[str]) -> list[str]:
    for place, name in enumerate(value):
        if not name or "=" in name or "\0" in name:  # never shown: it may be the secret itself
            raise ValueError(f"entry {place} is not the name of an environment variable")
    return value


def _hook(value: str | list[str]) -> str | list[str]:
    words = [value] if isinstance(value, str) else value
    if not words or not words[0].strip() or any("\0" in word for word in words):
        raise ValueError("must be a text for /bin/sh, or a program and its arguments")
    return value


Hook = Annotated[str | list[str], AfterValidator(_hook)]


class Settings(BaseModel):
    """All settings, checked; times in seconds, sizes in bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    max_runs: int = Field(50, ge=1, le=100_000, description="runs at once")
    default_task: Annotated[str, AfterValidator(_task)] = Field(
        "default", description="task of a run that names none"
    )
    groups: dict[Annotated[str, AfterValidator(_task)], Runs] = Field(
        default={}, description="runs at once of each concurrency group"
    )
    slots: dict[Annotated[str, AfterValidator(_task)], Runs] = Field(
        default={}, description="how many there are of each slot that stages use"
    )
    batch: str | None = Field(None, description="what a bare `supervisor start` runs")
    history_limit: int = Field(1000, ge=1, le=1_000_000, description="runs in state.json")
    launcher: Literal["zygote", "exec"] = Field("zygote", description="how workers are started")
    secrets: Annotated[list[str], AfterValidator(_secrets)] = Field(
        default=[], description="variables whose values are masked"
    )
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
    on_success: Hook | None = Field(None, description="started when a run has succeeded")
    on_failure: Hook | None = Field(None, description="started when a run has failed")
    on_finish: Hook | None = Field(None, description="started, last, when a run has ended")
    hook_timeout_s: Seconds = Field(60.0, description="then a hook is ended")
    metrics_textfile: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="figures for Prometheus are written there"
    )
    keep_runs: int | None = Field(None, ge=0, description="`gc` keeps so many runs of a task")
    keep_days: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None, description="`gc` keeps runs that ended at most so many days ago"
    )
    keep_bytes: int | None = Field(None, ge=0, description="`gc` keeps so much of a task on disk")


def unfit(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Settings that are right alone and wrong together: the keys, and what is wrong."""
    interval_s, stale_s = settings.heartbeat_interval_s, settings.heartbeat_stale_after_s
    if stale_s <= interval_s:
        what = f"heartbeat_stale_after_s ({stale_s:g}) must be more than heartbeat_interval_s"
        yield ("heartbeat_stale_after_s", "heartbeat_interval_s"), f"{what} ({interval_s:g})"
    if settings.hung_after_s <= stale_s:
        what = f"hung_after_s ({settings.hung_after_s:g}) must be more than heartbeat_stale_after_s"
        yield ("hung_after_s", "heartbeat_stale_after_s"), f"{what} ({stale_s:g})"
    waits_s = Backoff(
        attempts_count=settings.lock_attempts,
        delay_s=settings.lock_delay_s,
        factor=settings.lock_factor,
        max_delay_s=settings.lock_max_delay_s,
    ).longest_s()
    if waits_s > LOCK_WAIT_LIMIT_S + 1e-9:
        yield (
            ("lock_attempts", "lock_delay_s", "lock_factor", "lock_max_delay_s"),
            f"the waits between {settings.lock_attempts} tries can add up to {waits_s:g} s; "
            f"at most {LOCK_WAIT_LIMIT_S:g} s are allowed: lower one of the lock_ settings",
        )


def limits_of(settings: Settings) -> Limits:
    """What workers hold themselves to."""
    return Limits(**{name: getattr(settings, name) for name in Limits.__dataclass_fields__})
