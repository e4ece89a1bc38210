"""Settings: the one declaration of every key of ``[supervisor]``.

A key has a type, a default, a description, bounds, and the time at which a change takes effect in a
running supervisor. From these follow the pydantic model that checks it (``models.SettingsTable``),
its JSON Schema, its rows in docs/reference/settings.md, and what a reload reports. A test compares
config/supervisor.toml. Readers import this module, so it does not import pydantic.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import field
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from supervisor.core.policy.backoff import Backoff
from workers.records.dataclass import dataclass
from workers.records.hooks import HookEvent, HookSpec
from workers.records.ids import id_problem
from workers.records.limits import Limits

YEAR_S: Final = 365 * 86_400.0
LOCK_WAIT_LIMIT_S: Final = 3.0  # docs/reference: a held lock costs no more
PLACED: Final = ("dask", "slurm")  # launchers that have an engine place runs on other hosts
_LIMITS: Final = Limits()
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


class Effect(StrEnum):
    """When a running supervisor that reads its configuration again obeys a changed key."""

    NOW = "at once"
    NEW_RUNS = "for new runs"
    RESTART = "at the next start"


def setting(default: Any, description: str, effect: Effect, **bounds: float) -> Any:  # noqa: ANN401
    """Declare a setting; ``bounds`` as ``pydantic.Field`` takes them."""
    about = {"description": description, "effect": effect, "bounds": bounds}
    if isinstance(default, list | dict):
        return field(default_factory=type(default), metadata=about)
    return field(default=default, metadata=about)


class Checked:
    """A check of a value, for pydantic, which this module does not import.

    Args:
        check: returns the value; ValueError says what is wrong with it.
        bounds: as pydantic's core schemas have them: ``ge``, ``le``, ``min_length``.
    """

    def __init__(self, check: Callable[[Any], Any] | None = None, **bounds: float) -> None:
        self._check, self._bounds = check, bounds

    def __get_pydantic_core_schema__(self, source: object, handler: Callable[[Any], Any]) -> Any:  # noqa: ANN401
        """Add the check to the schema of the type."""
        from pydantic_core.core_schema import no_info_after_validator_function

        schema = {**handler(source), **self._bounds}
        return no_info_after_validator_function(self._check, schema) if self._check else schema


def _id(value: str) -> str:
    reason = id_problem(value)
    if reason is not None:
        raise ValueError(f"{value!r} {reason}")
    return value


def _secrets(value: list[str]) -> list[str]:
    for place, name in enumerate(value):
        if not _VARIABLE.fullmatch(name):  # never printed: it may be the secret itself
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
    argv = [value] if isinstance(value, str) else value
    if not argv or not argv[0].strip():
        raise ValueError("must be a string for /bin/sh, or a program and its arguments")
    for argument in filter(None, argv):  # an argument may be empty
        _text(argument)
    return value


Launcher = Literal["zygote", "exec", "dask", "slurm"]
Name = Annotated[str, Checked(_id)]
Text = Annotated[str, Checked(_text, min_length=1)]
Command = Annotated[str | list[str], Checked(_hook)]
Counts = dict[Name, Annotated[int, Checked(ge=1, le=100_000)]]
Seconds = Annotated[float, Checked(gt=0, le=YEAR_S, allow_inf_nan=False)]
Bytes = Annotated[int, Checked(ge=1024, le=1 << 30)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings, checked; times in seconds, sizes in bytes."""

    max_runs: int = setting(50, "runs at once", Effect.NOW, ge=1, le=100_000)
    default_task: Name = setting("default", "task of a run that names none", Effect.NEW_RUNS)
    groups: Counts = setting({}, "concurrency groups, and the runs at once of each", Effect.NOW)
    slots: Counts = setting(
        {}, "slots that stages may use, and the number of each", Effect.NEW_RUNS
    )
    batch: Text | None = setting(
        None, "batch that `supervisor start` runs by default", Effect.RESTART
    )
    history_limit: int = setting(
        1000, "newest runs listed in a task's state.json", Effect.RESTART, ge=1, le=1_000_000
    )
    launcher: Launcher = setting(
        "zygote", "how workers are started: zygote, exec, dask or slurm", Effect.RESTART
    )
    dask_scheduler: Text | None = setting(
        None, "address of the Dask scheduler; none: a cluster on this host", Effect.RESTART
    )
    slurm_options: list[Text] = setting([], "extra arguments for every `sbatch`", Effect.RESTART)
    secrets: Annotated[list[str], Checked(_secrets)] = setting(
        [], "environment variables whose values are masked", Effect.NEW_RUNS
    )
    lock_attempts: int = setting(
        5, "attempts to lock a task's state before it is owed", Effect.NOW, ge=1, le=100
    )
    lock_delay_s: Seconds = setting(
        0.1, "seconds; longest wait after the first attempt", Effect.NOW
    )
    lock_factor: float = setting(
        2.0, "growth of the longest wait with each attempt", Effect.NOW, ge=1, le=10
    )
    lock_max_delay_s: Seconds = setting(
        1.0, "seconds; longest wait between two attempts", Effect.NOW
    )
    owed_wait_s: float = setting(
        60.0, "seconds that `start --once` waits for an owed state", Effect.NOW, ge=0, le=86_400
    )
    heartbeat_interval_s: Seconds = setting(
        _LIMITS.heartbeat_interval_s, "seconds between two heartbeats", Effect.NEW_RUNS
    )
    heartbeat_stale_after_s: Seconds = setting(
        _LIMITS.heartbeat_stale_after_s,
        "seconds without a heartbeat: unresponsive",
        Effect.NOW,
    )
    hung_after_s: Seconds = setting(
        120.0, "seconds without a heartbeat: killed, after three checks", Effect.NOW
    )
    manifest_throttle_s: Seconds = setting(
        30.0, "seconds between manifest writes for a heartbeat alone", Effect.NOW
    )
    write_deadline_s: Seconds = setting(
        _LIMITS.write_deadline_s,
        "seconds; a slower heartbeat or manifest write is reported",
        Effect.RESTART,
    )
    stream_limit_bytes: Bytes = setting(
        _LIMITS.stream_limit_bytes, "bytes kept of each output stream of a stage", Effect.NEW_RUNS
    )
    error_detail_limit_bytes: int = setting(
        _LIMITS.error_detail_limit_bytes,
        "bytes of each stream's end in an error file",
        Effect.NEW_RUNS,
        ge=64,
        le=1 << 20,
    )
    error_file_limit_bytes: int = setting(
        _LIMITS.error_file_limit_bytes,
        "bytes of an error file on disk",
        Effect.NEW_RUNS,
        ge=4096,
        le=1 << 21,
    )
    grace_s: Seconds = setting(
        _LIMITS.grace_s, "seconds between terminate and kill", Effect.NEW_RUNS
    )
    on_success: Command | None = setting(
        None, "command to start after a run succeeded", Effect.NEW_RUNS
    )
    on_failure: Command | None = setting(
        None, "command to start after a run failed", Effect.NEW_RUNS
    )
    on_finish: Command | None = setting(
        None, "command to start last, after any run finished", Effect.NEW_RUNS
    )
    hook_timeout_s: Seconds = setting(60.0, "seconds after which a hook is ended", Effect.RESTART)
    metrics_textfile: Text | None = setting(
        None, "file that metrics for Prometheus are written to", Effect.RESTART
    )
    keep_runs: int | None = setting(None, "runs of a task that `gc` keeps", Effect.NOW, ge=0)
    keep_days: float | None = setting(
        None, "days that `gc` keeps a finished run", Effect.NOW, ge=0, allow_inf_nan=False
    )
    keep_bytes: int | None = setting(
        None, "bytes on disk that `gc` keeps of a task", Effect.NOW, ge=0
    )


def unfit(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Find settings that are valid alone and wrong together: their keys, and what is wrong."""
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
            f"the waits between {settings.lock_attempts} attempts can add up to {waits_s:g} s; "
            f"at most {LOCK_WAIT_LIMIT_S:g} s are allowed: lower one of the lock_ settings",
        )


def hooks_of(source: object) -> tuple[HookSpec, ...]:
    """The hooks of settings or of a pipeline, which have a key for each event."""
    commands = ((event, getattr(source, event)) for event in HookEvent)
    return tuple(
        HookSpec(on=event, command=tuple(command) if isinstance(command, list) else command)
        for event, command in commands
        if command is not None
    )


def limits_of(settings: Settings) -> Limits:
    """The limits that workers obey."""
    return Limits(**{name: getattr(settings, name) for name in Limits.__dataclass_fields__})
