"""Settings: every key and its default; what each means and may be is in ``plan.settings_table``.

``config/supervisor.toml`` repeats them for operators and a test holds the two equal. How the
sources stand above each other is in ``plan.load_settings``.
"""

from collections.abc import Iterator
from dataclasses import field
from typing import Final, Literal

from supervisor.core.policy.backoff import Backoff
from workers.records.dataclass import dataclass
from workers.records.limits import Limits

_LIMITS: Final = Limits()
LOCK_WAIT_LIMIT_S: Final = 3.0  # docs/reference: a held lock costs no more
Command = str | list[str]
Launcher = Literal["zygote", "exec", "dask", "slurm"]
PLACED: Final = ("dask", "slurm")  # launchers that have an engine place runs on other hosts


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings, checked; times in seconds, sizes in bytes."""

    max_runs: int = 50
    default_task: str = "default"
    groups: dict[str, int] = field(default_factory=dict)
    slots: dict[str, int] = field(default_factory=dict)
    batch: str | None = None
    history_limit: int = 1000
    launcher: Launcher = "zygote"
    dask_scheduler: str | None = None
    slurm_options: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    lock_attempts: int = 5
    lock_delay_s: float = 0.1
    lock_factor: float = 2.0
    lock_max_delay_s: float = 1.0
    owed_wait_s: float = 60.0
    heartbeat_interval_s: float = _LIMITS.heartbeat_interval_s
    heartbeat_stale_after_s: float = _LIMITS.heartbeat_stale_after_s
    hung_after_s: float = 120.0
    manifest_throttle_s: float = 30.0
    write_deadline_s: float = _LIMITS.write_deadline_s
    stream_limit_bytes: int = _LIMITS.stream_limit_bytes
    error_detail_limit_bytes: int = _LIMITS.error_detail_limit_bytes
    error_file_limit_bytes: int = _LIMITS.error_file_limit_bytes
    grace_s: float = _LIMITS.grace_s
    on_success: Command | None = None
    on_failure: Command | None = None
    on_finish: Command | None = None
    hook_timeout_s: float = 60.0
    metrics_textfile: str | None = None
    keep_runs: int | None = None
    keep_days: float | None = None
    keep_bytes: int | None = None


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
