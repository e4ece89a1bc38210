"""What a reload reports: each changed key once, and when it takes effect."""

from pathlib import Path

from supervisor.config.diff import changes
from supervisor.config.settings import Settings
from tests.examples import stage
from workers.records.spec import PipelineSpec

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "settings.md"


def told(old: Settings, new: Settings) -> list[str]:
    return [change.text for change in changes(old, new, {}, {})]


def pipeline(name: str, *stages: str) -> PipelineSpec:
    return PipelineSpec(id=name, title=name, stages=tuple(stage(item) for item in stages))


def test_equal_configurations_have_no_changes() -> None:
    same = {"p": pipeline("p", "a")}
    assert changes(Settings(), Settings(), same, same) == ()


def test_changed_key_is_reported_with_values_and_effect() -> None:
    new = Settings(max_runs=7, launcher="exec", default_task="other")
    assert told(Settings(), new) == [
        "max_runs 50 -> 7",
        "default_task default -> other, effective for new runs",
        "launcher zygote -> exec, effective at the next start",
    ]


def test_changed_groups_are_reported_one_by_one() -> None:
    old, new = Settings(groups={"a": 1, "b": 2, "c": 3}), Settings(groups={"b": 2, "c": 4, "d": 5})
    assert told(old, new) == ["groups.a 1 -> none", "groups.c 3 -> 4", "groups.d none -> 5"]


def test_names_of_secrets_are_not_reported() -> None:
    (text,) = told(Settings(), Settings(secrets=["HUSH"]))
    assert "HUSH" not in text


def test_changed_pipelines_are_reported_by_name() -> None:
    old = {"a": pipeline("a", "x"), "b": pipeline("b", "x"), "c": pipeline("c", "x")}
    new = {"b": pipeline("b", "y"), "c": pipeline("c", "x"), "d": pipeline("d", "x")}
    assert [change.text for change in changes(Settings(), Settings(), old, new)] == [
        "pipeline a removed",
        "pipeline b changed, effective for new runs",
        "pipeline d added",
    ]


def test_page_says_when_a_change_of_each_key_takes_effect() -> None:
    rows = [line.split("|") for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    effects = {row[1].strip(" `"): row[4].strip() for row in rows if len(row) == 7}
    declared = Settings.__dataclass_fields__.items()
    assert effects == {key: str(field.metadata["effect"]) for key, field in declared}
