"""The cache of the configuration is used exactly as long as nothing that it depends on differs."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from supervisor.config import load_settings as loading
from supervisor.config import pipelines as reading
from supervisor.config.load import load_config
from supervisor.errors import ConfigError

CONFIG = """
[supervisor]
max_runs = 7
secrets = ["HUSH"]
on_failure = ["true"]
groups = { gpu = 2 }
slots = { disk = 1 }
[pipelines.build]
group = "gpu"
env = { A = "1" }
max_parallel = 2
resources = { slot = 1, gpu = 0.5 }
[pipelines.build.params.level]
type = "integer"
default = 3
[[pipelines.build.stages]]
id = "one"
command = ["make", "{param.level}"]
retries = { attempts = 2, delay_s = 0.5 }
[[pipelines.build.stages]]
id = "two"
command = "make two"
needs = ["one"]
uses = ["disk"]
[[pipelines.build.stages]]
id = "three"
pipeline = "test"
[pipelines.test]
[[pipelines.test.stages]]
id = "s"
command = ["true"]
"""
BATCH = """
[[runs]]
pipeline = "build"
count = 2
params = { level = 9 }
priority = 5
[[runs]]
pipeline = "own"
task = "t"
[pipelines.own]
[[pipelines.own.stages]]
id = "s"
command = ["true"]
"""
CHECKOUT = Path(__file__).parents[3]
LONG_S = 86_400.0


class Place:
    """A root with a configuration, and a count of how often it was really read."""

    def __init__(self, root: Path, counts: dict[str, int]) -> None:
        self.root = root
        self.config = root / "config/supervisor.toml"
        self.batch = root / "batch.toml"
        self.counts = counts

    def read(self, **flags: object) -> object:
        return load_config(str(self.root), None, **flags)

    def is_read_anew(self, call: Callable[[], object] | None = None) -> bool:
        before = self.counts["read"]
        (call or self.read)()
        return self.counts["read"] > before


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    counts = {"read": 0}

    def counted(function: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            counts["read"] += 1
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(loading, "load_settings", counted(loading.load_settings))
    monkeypatch.setattr(reading, "parse", counted(reading.parse))
    monkeypatch.setattr("supervisor.config.config_cache._SETTLED_S", -LONG_S)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    root = tmp_path / "root"
    (root / "config").mkdir(parents=True)
    (root / ".runs/.supervisor").mkdir(parents=True, mode=0o700)
    found = Place(root, counts)
    found.config.write_text(CONFIG)
    found.batch.write_text(BATCH)
    return found


def test_second_reading_uses_the_cache(place: Place) -> None:
    first = load_config(str(place.root), None)
    assert not place.is_read_anew()
    second = load_config(str(place.root), None)
    assert (second.settings, second.catalog) == (first.settings, first.catalog)


def test_batch_is_cached_with_its_configuration(place: Place) -> None:
    first = load_config(str(place.root), None).batch(str(place.batch))
    before = place.counts["read"]
    assert load_config(str(place.root), None).batch(str(place.batch)) == first
    assert place.counts["read"] == before
    place.batch.write_text(BATCH.replace("count = 2", "count = 4"))
    changed = load_config(str(place.root), None).batch(str(place.batch))
    assert changed is not None
    assert changed.runs[0].count == 4


@pytest.mark.parametrize(
    "change",
    [
        lambda place, env: place.config.write_text(CONFIG + "# longer"),
        lambda place, env: place.config.write_text(CONFIG.replace("= 7", "= 8")),
        lambda place, env: os.utime(place.config, (1, 1)),
        lambda place, env: (
            place.config.rename(place.root / "old"),
            place.config.write_text(CONFIG),
        ),
        lambda place, env: env.setenv("SUPERVISOR_MAX_RUNS", "3"),
        lambda place, env: env.setenv("SUPERVISOR_GRACE_S", "3"),
        lambda place, env: env.setenv("SUPERVISOR_max_runs", "4"),
        lambda place, env: (place.root / "codex.orchestrator.json").write_text("{}"),
        lambda place, env: env.setattr("supervisor.config.config_cache.VERSION", "other"),
    ],
    ids=[
        "longer",
        "value",
        "touched",
        "moved",
        "variable",
        "new",
        "lower",
        "origin",
        "version",
    ],
)
def test_change_of_a_dependency_invalidates_the_cache(
    place: Place, monkeypatch: pytest.MonkeyPatch, change: Callable[..., object]
) -> None:
    place.read()
    change(place, monkeypatch)
    assert place.is_read_anew()
    assert not place.is_read_anew()


def test_relative_path_in_a_variable_depends_on_the_current_directory(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.read()
    monkeypatch.chdir(place.root)
    assert not place.is_read_anew(), "nothing depends on it"
    monkeypatch.setenv("SUPERVISOR_METRICS_TEXTFILE", "ours.prom")
    assert place.is_read_anew()
    monkeypatch.chdir(place.root.parent)
    assert place.is_read_anew()


def test_verb_that_only_checks_leaves_no_file(place: Place) -> None:
    load_config(str(place.root), None, writes=False).batch(str(place.batch))
    assert os.listdir(place.root / ".runs/.supervisor") == []


def test_new_file_invalidates_the_cache(place: Place) -> None:
    place.read()
    user = Path(os.environ["XDG_CONFIG_HOME"]) / "pipeline-supervisor/supervisor.toml"
    user.parent.mkdir(parents=True)
    user.write_text("[supervisor]\nmax_runs = 1\ngrace_s = 2.0\n")
    assert place.is_read_anew()
    assert load_config(str(place.root), None).settings.grace_s == 2.0


REPORT = """
import sys
from supervisor.config import config_cache
config_cache._SETTLED_S = float("-inf")
from supervisor.config.load import load_config
settings = load_config(sys.argv[1], None).settings
print("pydantic" in sys.modules, settings.history_limit, settings.grace_s)
"""


@pytest.mark.parametrize(
    ("module", "old", "new", "expected"),
    [
        (
            "supervisor/config/settings.py",
            "history_limit: int = setting(\n        1000,",
            "history_limit: int = setting(\n        7,",
            "7 10.0",
        ),
        ("workers/records/limits.py", "grace_s: float = 10.0", "grace_s: float = 3.0", "1000 3.0"),
        ("supervisor/version.py", "", "# a remark\n", "1000 10.0"),
    ],
    ids=["a default", "a limit of the protocol", "any module"],
)
def test_change_of_the_program_invalidates_the_cache(
    tmp_path: Path, module: str, old: str, new: str, expected: str
) -> None:
    checkout = tmp_path / "checkout"
    for package in ("supervisor", "workers"):
        shutil.copytree(
            CHECKOUT / package, checkout / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    (tmp_path / "root/.runs/.supervisor").mkdir(parents=True, mode=0o700)

    def report() -> str:
        done = subprocess.run(
            [sys.executable, "-c", REPORT, str(tmp_path / "root")],
            env={**os.environ, "PYTHONPATH": str(checkout)},
            cwd=checkout,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    assert report() == "True 1000 10.0"
    assert report() == "False 1000 10.0"
    text = (checkout / module).read_text()
    (checkout / module).write_text(text.replace(old, new, 1))
    assert report() == f"True {expected}"
    assert report() == f"False {expected}"


def test_other_version_of_a_checking_library_invalidates_the_cache(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "library_that_checks.py"
    library.write_text("VERSION = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("supervisor.config.config_cache._LIBRARIES", (library.stem,))
    place.read()
    assert not place.is_read_anew()
    library.write_text("VERSION = 22\n")
    assert place.is_read_anew()


def test_option_of_another_call_is_not_used(place: Place) -> None:
    assert load_config(str(place.root), None).settings.max_runs == 7
    assert load_config(str(place.root), None, max_runs=2).settings.max_runs == 2
    assert load_config(str(place.root), None).settings.max_runs == 7


def test_recently_changed_file_is_not_cached(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supervisor.config.config_cache._SETTLED_S", LONG_S)
    place.read()
    assert place.is_read_anew()
    assert not list((place.root / ".runs/.supervisor").iterdir())


def test_secret_is_found_in_a_cached_configuration(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.read()
    monkeypatch.setenv("HUSH", "make two, and more")
    place.read()
    monkeypatch.setenv("HUSH", "make two")
    with pytest.raises(ConfigError, match="HUSH"):
        place.read()


def test_cache_contains_no_values_of_other_variables(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPERVISOR_DEPLOY_TOKEN", "hunter2")
    monkeypatch.setenv("SUPERVISOR_MAX_RUNS", "9")
    place.read()
    (file,) = (place.root / ".runs/.supervisor").iterdir()
    assert "hunter2" not in file.read_text()
    monkeypatch.setenv("SUPERVISOR_DEPLOY_TOKEN", "hunter3")
    assert not place.is_read_anew()


def test_misspelled_variable_is_reported_despite_the_cache(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.read()
    monkeypatch.setenv("SUPERVISOR_MAX_RNUS", "9")
    with pytest.raises(ConfigError, match="MAX_RNUS"):
        place.read()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"key": {}}', "null"])
def test_damaged_cache_is_ignored(place: Place, text: str) -> None:
    place.read()
    (file,) = (place.root / ".runs/.supervisor").iterdir()
    file.write_text(text)
    assert place.is_read_anew()
    assert not place.is_read_anew()


def test_cache_of_another_shape_or_file_type_is_ignored(place: Place) -> None:
    place.read()
    (file,) = (place.root / ".runs/.supervisor").iterdir()
    whole = file.read_text()
    file.write_text(whole.replace('"max_runs"', '"max_rnus"', 1))
    assert place.is_read_anew()
    file.write_text(whole.replace('"stages"', '"stagse"'))
    assert load_config(str(place.root), None).catalog.pipelines["build"].stages
    file.unlink()
    os.mkfifo(file)
    assert place.is_read_anew()


def test_nothing_is_created_without_a_root(place: Place) -> None:
    (place.root / ".runs/.supervisor").rmdir()
    place.read()
    assert list((place.root / ".runs").iterdir()) == []


def test_invalid_configuration_is_not_cached(place: Place) -> None:
    place.config.write_text(CONFIG.replace('group = "gpu"', 'group = "gpx"'))
    for _ in range(2):
        with pytest.raises(ConfigError, match="gpx"):
            place.read()
    assert not list((place.root / ".runs/.supervisor").iterdir())
