"""The sources of settings, which one wins, and what is never read or printed."""

import os
import re
import tomllib
from pathlib import Path

import pytest

from supervisor.config.load_settings import load_settings
from supervisor.config.models import SettingsTable
from supervisor.config.settings import Settings, limits_of
from supervisor.errors import ConfigError
from workers.records.limits import Limits

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "config" / "supervisor.toml"


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_stronger_source_wins(tmp_path: Path) -> None:
    project = write(tmp_path / "p.toml", "[supervisor]\nmax_runs = 3\n")
    write(tmp_path / "x/pipeline-supervisor/supervisor.toml", "[supervisor]\nmax_runs = 4\n")
    user = {"XDG_CONFIG_HOME": str(tmp_path / "x")}
    variable = {**user, "SUPERVISOR_MAX_RUNS": "2"}
    seen = [
        load_settings(flags={"max_runs": 1}, project=project, environ=variable).max_runs,
        load_settings(flags={}, project=project, environ=variable).max_runs,
        load_settings(flags={}, project=project, environ=user).max_runs,
        load_settings(flags={}, project=None, environ=user).max_runs,
        load_settings(flags={}, project=None, environ={}).max_runs,
    ]
    assert seen == [1, 2, 3, 4, 50]


def test_sources_are_merged_key_by_key(tmp_path: Path) -> None:
    project = write(tmp_path / "p.toml", "[supervisor]\ngrace_s = 3\n")
    settings = load_settings(
        flags={"max_runs": 7}, project=project, environ={"SUPERVISOR_SECRETS": "A, B"}
    )
    assert (settings.max_runs, settings.grace_s, tuple(settings.secrets)) == (7, 3.0, ("A", "B"))
    assert settings.history_limit == 1000


def test_defaults_are_those_of_the_contract() -> None:
    settings = Settings()
    assert limits_of(settings) == Limits()
    assert (settings.lock_attempts, settings.lock_delay_s) == (5, 0.1)
    assert (settings.lock_factor, settings.lock_max_delay_s, settings.owed_wait_s) == (2, 1, 60)
    assert (settings.hung_after_s, settings.manifest_throttle_s) == (120, 30)
    assert (settings.max_runs, settings.history_limit, settings.launcher) == (50, 1000, "zygote")
    assert (settings.default_task, settings.batch, list(settings.secrets)) == ("default", None, [])


def test_shipped_file_shows_every_setting_with_default_and_description() -> None:
    table = SHIPPED.read_text().split("\n[pipelines", 1)[0]
    uncommented = re.sub(r"(?m)^# ?([a-z_]+ = )", r"\1", table)
    shown = tomllib.loads(uncommented)["supervisor"]
    batch = shown.pop("batch")
    assert (SHIPPED.parent / batch).is_file()
    defaults = SettingsTable().model_dump(exclude={"batch"})
    for key in [key for key, value in defaults.items() if value is None]:
        SettingsTable(**{key: shown.pop(key)})  # an example, since TOML has no word for none
        del defaults[key]
    assert {key: list(v) if isinstance(v, tuple) else v for key, v in defaults.items()} == shown
    comments = dict(re.findall(r"(?m)^([a-z_]+) = .*? # (.*)$", uncommented))
    declared = Settings.__dataclass_fields__.items()
    assert comments == {key: field.metadata["description"] for key, field in declared}
    for key, description in comments.items():
        assert "second" in description or not key.endswith("_s"), f"no unit: {key}"


def test_variables_of_supervisord_and_others_are_ignored() -> None:
    environ = {
        "SUPERVISOR_ENABLED": "1",
        "SUPERVISOR_PROCESS_NAME": "x",
        "SUPERVISOR_GROUP_NAME": "x",
        "SUPERVISOR_SERVER_URL": "unix:///run/s.sock",
        "SUPERVISOR_ROOT": "/r",
        "SUPERVISOR_CONFIG": "c.toml",
        "SUPERVISOR_WEBHOOK_SECRET_OF_ANOTHER_PROGRAM": "x",
        "SUPERVISOR_MAX_RUNS": "",
    }
    settings = load_settings(flags={}, project=None, environ=environ)
    assert settings == Settings()


@pytest.mark.fault("S11")
def test_dot_env_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / ".env", "SUPERVISOR_MAX_RUNS=9\nMAX_RUNS=9\n")
    monkeypatch.chdir(tmp_path)
    assert load_settings(flags={}, project=None, environ={}).max_runs == 50


def test_only_the_given_environment_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SUPERVISOR_MAX_RUNS", "9")
    monkeypatch.setenv("MAX_RUNS", "9")
    assert load_settings(flags={}, project=None, environ={}).max_runs == 50


def test_mistake_in_an_overridden_source_is_reported(
    tmp_path: Path,
) -> None:
    project = write(tmp_path / "p.toml", "[supervisor]\nmax_runs = 0\n")
    with pytest.raises(ConfigError, match=re.escape(f"{project}: supervisor.max_runs")):
        load_settings(flags={"max_runs": 3}, project=project, environ={})


def test_problems_of_all_sources_are_reported_together(tmp_path: Path) -> None:
    project = write(tmp_path / "p.toml", "[supervisor]\nmax_runs = 0\nfoo = 1\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(
            flags={}, project=project, environ={"SUPERVISOR_GRACE_S": "x", "SUPERVISOR_BACH": "x"}
        )
    lines = str(caught.value).splitlines()
    assert len(lines) == len(caught.value.problems) == 4
    assert os.linesep not in lines


def test_the_users_file_is_found_below_home(tmp_path: Path) -> None:
    write(tmp_path / ".config/pipeline-supervisor/supervisor.toml", "[supervisor]\nmax_runs = 4\n")
    settings = load_settings(flags={}, project=None, environ={"HOME": str(tmp_path)})
    assert settings.max_runs == 4


def test_groups_of_a_variable_and_files_are_merged(tmp_path: Path) -> None:
    project = write(tmp_path / "p.toml", "[supervisor.groups]\ngpu = 2\ndisk = 1\n")
    environ = {"SUPERVISOR_GROUPS": "gpu=3, net = 4"}
    groups = load_settings(flags={}, project=project, environ=environ).groups
    assert groups == {"gpu": 3, "disk": 1, "net": 4}
    for wrong, what in (("gpu", "must be names with"), ("gpu=0", "at least 1"), ("a/b=1", "a/b")):
        with pytest.raises(ConfigError, match=what) as caught:
            load_settings(flags={}, project=None, environ={"SUPERVISOR_GROUPS": wrong})
        assert "SUPERVISOR_GROUPS" in str(caught.value)


TEXTS = ("batch", "metrics_textfile", "dask_scheduler")


@pytest.mark.fault("C12")
@pytest.mark.parametrize("text", ["", "a\\u0000b"], ids=["empty", "NUL"])
@pytest.mark.parametrize("key", [*TEXTS, "slurm_options", "secrets", "on_success"])
def test_text_that_cannot_be_used_is_refused_with_file_and_key(
    tmp_path: Path, key: str, text: str
) -> None:
    value = f'"{text}"' if key in TEXTS else f'["{text}"]'
    project = write(tmp_path / "p.toml", f"[supervisor]\n{key} = {value}\n")
    with pytest.raises(ConfigError, match=rf"^{re.escape(project)}: supervisor\.{key}"):
        load_settings(flags={}, project=project, environ={})


@pytest.mark.fault("C12")
@pytest.mark.parametrize("key", [*TEXTS, "on_finish", "default_task"])
def test_variable_that_is_not_utf_8_is_refused_by_its_name(key: str) -> None:
    name = f"SUPERVISOR_{key.upper()}"
    with pytest.raises(ConfigError, match=rf"^{name}: .*") as caught:
        load_settings(flags={}, project=None, environ={name: "/caf\udce9"})
    assert "\udce9" not in str(caught.value)


@pytest.mark.parametrize("key", ["batch", "metrics_textfile"])
def test_directory_for_a_file_is_refused_with_its_key(tmp_path: Path, key: str) -> None:
    project = write(tmp_path / "p.toml", f'[supervisor]\n{key} = "."\n')
    with pytest.raises(ConfigError, match=rf"supervisor\.{key}: .* is a directory; name a file"):
        load_settings(flags={}, project=project, environ={})


@pytest.mark.fault("S1")
@pytest.mark.parametrize("text", ["A:B", "A B", "$A", '["A", "B C"]', "1A"])
def test_list_of_secrets_with_another_separator_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"SUPERVISOR_SECRETS: entry \d is not the name"):
        load_settings(flags={}, project=None, environ={"SUPERVISOR_SECRETS": text})


@pytest.mark.parametrize("text", ["gpu=1;disk=2", "gpu=1 disk=2", "gpu:1", "gpu=1,gpu=2"])
def test_numbers_by_name_with_another_separator_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"SUPERVISOR_SLOTS: must be names with their numbers"):
        load_settings(flags={}, project=None, environ={"SUPERVISOR_SLOTS": text})
