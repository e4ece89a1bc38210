"""The reference pages say what the code does, and every link leads somewhere."""

import ast
import importlib
import re
import shlex
from pathlib import Path

import click
import pytest

import supervisor.errors
import workers.records.typed_errors
from docs import lifecycle
from docs.generate import BLOCK, MODELS, generated
from supervisor.cli import VERBS
from supervisor.commands.doctor import UNFIT
from supervisor.commands.status import FAILED_SHOWN
from supervisor.commands.verify import BAD_RECORDS
from supervisor.commands.wait import TIMED_OUT
from supervisor.config.models import SettingsTable
from supervisor.core.lifecycle import TABLE
from supervisor.core.policy.exit_codes import CANCELLED, FAILED, LOST, LOST_DETAILS, OK
from supervisor.core.policy.task_metrics import Guardrail, LockCounts, Totals, measure
from tests.architecture.test_packages import ORDER
from tests.examples import run_spec
from workers.records.journal import Event
from workers.records.layout import FixedPath, Layout
from workers.records.limits import Limits
from workers.records.manifest import Observed, Status, fold_manifest
from workers.records.typed_errors import TypedError

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
SIGNALS = {128 + 2, 128 + 15, 128 + 13}  # INT, TERM, and PIPE for a reader that went away
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")


def page(name: str) -> str:
    return (DOCS / name).read_text()


def rows(text: str) -> list[list[str]]:
    """The cells of every table row of a page."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def in_first_cell(text: str) -> set[str]:
    """What stands in backticks in the first cell of any row."""
    return {word for row in rows(text) for word in re.findall(r"`([^`]+)`", row[0])}


def prose(path: Path) -> str:
    """A page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """The names that a page's headings get."""
    heads = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_a_heading(path: Path) -> None:
    for target, anchor in LINK.findall(prose(path)):
        found = path.parent / target if target else path
        assert found.exists(), f"{path}: {target}"
        assert not anchor or anchor in anchors(found), f"{path}: {target}#{anchor}"


def test_the_index_leads_to_every_page() -> None:
    for index in (DOCS / "index.md", DOCS / "decisions" / "README.md"):
        targets = {(index.parent / target).resolve() for target, _ in LINK.findall(prose(index))}
        below = {p for p in index.parent.rglob("*.md") if p != index}
        if index.name == "index.md":
            below = {p for p in below if p.parent.name != "decisions" or p.name == "README.md"}
        assert below, index
        assert not below - targets, f"{index} does not name {below - targets}"


GENERATED = [path for path in PAGES if "<!-- generated: " in path.read_text()]


@pytest.mark.parametrize("path", GENERATED, ids=lambda p: p.name)
def test_generated_blocks_are_what_docs_generate_writes(path: Path) -> None:
    assert path.read_text() == generated(path.read_text()), "run 'python -m docs.generate'"


def test_every_setting_verb_and_key_has_a_generated_block() -> None:
    names = {found[2] for path in GENERATED for found in BLOCK.finditer(path.read_text())}
    assert names >= {"settings", *MODELS}
    for verb in VERBS:
        command = importlib.import_module(f"supervisor.commands.{verb}").command
        if any(isinstance(option, click.Option) for option in command.params):
            assert f"options of {verb}" in names


@pytest.mark.parametrize("name", SettingsTable.model_fields)
def test_every_setting_is_documented_with_its_default(name: str) -> None:
    default = SettingsTable.model_fields[name].default
    text = "none" if default is None else repr(default).replace("'", '"')
    assert f"| `{name}` | `{text}` |" in page("reference/settings.md")


def test_documented_settings_exist() -> None:
    table = page("reference/settings.md").split("\n## Settings\n")[1].split("\n## ")[0]
    assert in_first_cell(table) == set(SettingsTable.model_fields)


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
    told = set(re.findall(r"`(--?[a-z][a-z-]*)`", " ".join(row[0] for row in rows(section))))
    known = {name for option in command.params for name in option.opts}
    assert told or not any(isinstance(o, click.Option) for o in command.params), "none is told"
    assert told <= known, "an option that does not exist"


def test_no_verb_is_told_that_does_not_exist() -> None:
    assert set(re.findall(r"^## supervisor (\S+)$", page("reference/cli.md"), re.M)) == set(VERBS)


@pytest.mark.parametrize(("verb", "summary"), VERBS.items())
def test_every_help_has_a_summary_and_an_example_in_80_columns(verb: str, summary: str) -> None:
    command = importlib.import_module(f"supervisor.commands.{verb}").command
    assert command.help.split("\n\n")[0] == summary
    assert len(summary) <= 60
    assert f"Example: supervisor {verb}" in command.help
    context = click.Context(command, info_name=f"supervisor {verb}", terminal_width=80)
    assert max(map(len, command.get_help(context).splitlines())) <= 80


ERRORS = {
    kind.__name__: kind
    for module in (workers.records.typed_errors, supervisor.errors)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, TypedError) and kind is not TypedError
}
CODES = {OK, FAILED, CANCELLED, LOST, FAILED_SHOWN, BAD_RECORDS, UNFIT, TIMED_OUT, *SIGNALS}
CODES |= {kind.exit_code for kind in ERRORS.values()}


@pytest.mark.parametrize("path", ["README.md", "docs/reference/exit-codes.md"])
def test_the_exit_codes_that_are_told_are_those_that_there_are(path: str) -> None:
    told = [row[0] for row in rows((ROOT / path).read_text()) if re.match(r"\d", row[0])]
    assert {int(code) for cell in told for code in cell.split(", ")} == CODES


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_is_told_with_its_exit_code(name: str) -> None:
    assert f"| `{name}` | {ERRORS[name].exit_code} |" in page("reference/errors.md")


def test_every_reason_for_not_starting_is_told() -> None:
    tree = ast.parse((ROOT / "workers/processes/spawn.py").read_text())
    reasons = {
        str(call.args[0].value)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "NotStarted"
        and isinstance(call.args[0], ast.Constant)
    }
    assert len(reasons) > 3, "they are made in another way now: look for them there"
    assert reasons <= in_first_cell(page("reference/errors.md"))


def test_every_file_of_the_protocol_is_told() -> None:
    told = " ".join(f"{word} " for word in in_first_cell(page("reference/run-directory.md")))
    layout = Layout("/r")
    run = layout.run_dir("t", "2025-10-31T22-56-34-431Z-9574035c")
    attributes = (property, FixedPath)
    paths = [getattr(layout, n) for n, v in vars(Layout).items() if isinstance(v, attributes)]
    paths += [getattr(run, n) for n, v in vars(type(run)).items() if isinstance(v, attributes)]
    names = {Path(p).name.replace(f".{run.run_id}.", ".<run-id>.") for p in paths} - {
        run.run_id,
        ".runs",
        "out",
        ".supervisor",
    }
    names |= {Path(p).name for p in (layout.metrics("t"), layout.history("t"), layout.state("t"))}
    assert len(names) > 15
    for name in names:
        assert re.search(rf"(^|[ /]){re.escape(name)}[ /]", told), name
    assert "<task>.lock " in told


@pytest.mark.parametrize("event", Event)
def test_every_event_is_told(event: Event) -> None:
    assert event in in_first_cell(page("reference/run-directory.md"))


def test_every_field_of_the_manifest_is_told_and_no_other() -> None:
    manifest = fold_manifest(run_spec(), [], layout=Layout("/r"), observed=Observed(updated_at=""))
    text = page("reference/manifest.md")
    top, commands, extensions = text.split("\n## ")
    assert in_first_cell(top) == set(manifest)
    assert in_first_cell(commands) == set(manifest["commands"][0])
    assert in_first_cell(extensions) == set(manifest["extensions"])
    for key in manifest["extensions"]["stages"][0]:
        assert f"`{key}`" in extensions, key


def guardrails() -> tuple[Guardrail, ...]:
    return measure(Totals(), LockCounts(), missed_count=0, limits=Limits())


@pytest.mark.parametrize("row", guardrails(), ids=lambda row: row.name)
def test_every_guardrail_is_told_with_its_limit_and_source(row: Guardrail) -> None:
    limit = "" if row.limit is None else f"{row.limit:,g}" if row.limit < 1 else f"{row.limit:,.0f}"
    limit = f"below {limit}" if row.strict else limit
    told = {cells[0]: cells[1:3] for cells in rows(page("explanation/guardrails.md"))}
    assert told[f"`{row.name}`"] == [limit, row.source]


def test_the_architecture_page_shows_every_package() -> None:
    layout = page("explanation/architecture.md").split("```")[1]
    for package in ORDER:
        name = package.rsplit(".", 1)[-1]
        assert re.search(rf"\b{name}(/|\.py)", layout), package


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_page_names_only_files_that_exist(path: Path) -> None:
    for name in re.findall(
        r"\b(?:supervisor|workers|tests|stress|benches)/[\w/]+\.py\b", path.read_text()
    ):
        assert (ROOT / name).is_file(), name


def test_the_lifecycle_page_holds_the_diagram_and_matrix_of_the_code() -> None:
    text = page("reference/lifecycle.md")
    for part in lifecycle.parts():
        assert part in text, "run python -m docs.lifecycle"


def test_every_state_status_and_lost_detail_is_told() -> None:
    told = in_first_cell(page("reference/lifecycle.md"))
    assert {*map(str, Status), *LOST_DETAILS} <= told
    states = {row[0] for row in rows(page("reference/lifecycle.md"))}
    assert {state.__name__.lower() for state in TABLE} <= states


def test_the_readmes_details_are_those_of_the_lifecycle() -> None:
    readme = (ROOT / "README.md").read_text().split("## The states of a run")[1].split("\n## ")[0]
    section = page("reference/lifecycle.md").split("## status_detail")[1].split("\n## ")[0]
    told = {word for row in rows(readme)[1:] for word in re.findall(r"`([^`]+)`", row[1])}
    assert told == in_first_cell(section)


def test_every_test_of_the_track_record_exists() -> None:
    commands = [row[2].strip("`") for row in rows(page("reference/track-record.md"))]
    commands = [line for line in commands if "tests/" in line and not line.startswith("git ")]
    assert len(commands) > 100
    for line in commands:
        words = shlex.split(line)
        paths = [ROOT / word for word in words if word.startswith("tests/")]
        assert all(path.exists() for path in paths), f"adjust track-record.md: {line}"
        files = [f for path in paths for f in (path.rglob("*.py") if path.is_dir() else [path])]
        text = "".join(file.read_text() for file in files)
        chosen = words[words.index("-k") + 1] if "-k" in words else ""
        for name in re.findall(r"[a-z]\w+", chosen):
            assert name in ("and", "or") or name in text, f"adjust track-record.md: {line}"


@pytest.mark.parametrize("name", ["main", "test"])
def test_the_readme_has_each_command_as_one_line(name: str) -> None:
    text = (ROOT / "README.md").read_text()
    found = re.findall(rf"<!-- command: {name} -->\n```sh\n(.*)\n```\n", text)
    assert len(found) == 1, "one block of one line, as .ci/run reads it"
    assert found[0].startswith("python3 -m venv .venv && . .venv/bin/activate && ")
