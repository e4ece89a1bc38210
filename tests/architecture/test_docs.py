"""The reference pages say what the code does, and every link leads somewhere."""

import importlib
import re
from pathlib import Path

import click
import pytest

import supervisor.errors
import workers.records.errors
from supervisor.cli import VERBS
from supervisor.core.lifecycle import TABLE
from supervisor.core.outcome import CANCELLED, FAILED, LOST, OK
from supervisor.settings import Settings
from tests.architecture.test_floors import FLOORS
from workers.records.errors import TypedError
from workers.records.journal import Event
from workers.records.layout import Layout
from workers.records.manifest import Status

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / target).exists(), f"{path}: {target}"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_told_with_its_default(name: str) -> None:
    default = Settings.model_fields[name].default
    text = "none" if default is None else repr(default).replace("'", '"')
    assert f"| `{name}` | `{text}` |" in page("reference/settings.md")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_and_option_is_told(verb: str) -> None:
    text = page("reference/cli.md")
    assert f"## supervisor {verb}\n" in text
    section = text.split(f"## supervisor {verb}\n")[1].split("\n## ")[0]
    command = importlib.import_module(f"supervisor.commands.{verb}").command
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            for name in option.opts:
                assert f"`{name}`" in section, f"{verb} {name}"
    told = set(re.findall(r"\| `(--?[a-z-]+)`", section))
    known = {name for option in command.params for name in option.opts}
    assert told <= known, "an option that does not exist"


def test_every_help_has_an_example() -> None:
    for verb in VERBS:
        command = importlib.import_module(f"supervisor.commands.{verb}").command
        assert f"Example: supervisor {verb}" in (command.help or ""), verb


def codes() -> set[int]:
    found = {OK, FAILED, CANCELLED, LOST}
    for module in (workers.records.errors, supervisor.errors):
        for kind in vars(module).values():
            if isinstance(kind, type) and issubclass(kind, TypedError):
                found.add(kind.exit_code)
    return found


@pytest.mark.parametrize("code", sorted(codes()))
def test_every_exit_code_is_told(code: int) -> None:
    assert re.search(rf"^\| {code} \|", page("reference/exit-codes.md"), re.MULTILINE)


def test_every_file_of_the_protocol_is_told() -> None:
    text = page("reference/run-directory.md")
    layout = Layout("/r")
    run = layout.run_dir("t", "2025-10-31T22-56-34-431Z-9574035c")
    paths = [getattr(layout, n) for n, v in vars(Layout).items() if isinstance(v, property)]
    paths += [getattr(run, n) for n, v in vars(type(run)).items() if isinstance(v, property)]
    for path in {*paths, layout.metrics("t"), layout.history("t"), layout.state("t")}:
        name = Path(path).name
        if name not in (run.run_id, ".runs", "out", ".supervisor"):
            assert name in text, name


@pytest.mark.parametrize("event", Event)
def test_every_event_is_told(event: Event) -> None:
    assert f"`{event}`" in page("reference/run-directory.md")


@pytest.mark.parametrize("floor", [f for f in FLOORS if f != "supervisor"])
def test_the_architecture_page_names_every_floor(floor: str) -> None:
    rows = [r for r in page("explanation/architecture.md").splitlines() if r.startswith("| ")]
    assert any(f"`{floor}`" in row and row.startswith(f"| {FLOORS[floor]} |") for row in rows)


def diagram() -> str:
    lines = ["stateDiagram-v2", "    [*] --> queued"]
    for before, row in TABLE.items():
        for move, after in row.items():
            lines.append(f"    {before.__name__.lower()} --> {after.__name__.lower()}: {move}")
    return "\n".join([*lines, "    recorded --> [*]"])


def test_the_lifecycles_picture_is_made_from_the_table() -> None:
    text = page("reference/lifecycle.md")
    assert f"```mermaid\n{diagram()}\n```" in text
    for status in Status:
        assert f"`{status}`" in text
