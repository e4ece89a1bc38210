"""The package order holds, strictly, without circles; names are unique; files have one subject."""

import ast
import collections
import graphlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Lowest first: a module imports its own package and those that come before it.
ORDER = (
    "workers.records",
    "workers.processes",
    "workers.output",
    "workers.stages",
    "workers.entry",
    "workers",  # the program
    "supervisor.version",
    "supervisor.errors",
    "supervisor.launchers.agents",
    "supervisor.launchers",
    "supervisor.core.policy",
    "supervisor.core",
    "supervisor.store",
    "supervisor.report.text",
    "supervisor.report.read",
    "supervisor.report.terminal",
    "supervisor.report.html",
    "supervisor.report.export",
    "supervisor.report.verify",
    "supervisor.report.schemas",
    "supervisor.config",
    "supervisor.daemon.hooks",
    "supervisor.daemon",
    "supervisor.doctor",
    "supervisor.commands",
    "supervisor.cli",
    "supervisor.__main__",
)
# One outside thing per file: who may import what (docs/explanation/architecture.md).
HOMES = {
    "psutil": {"supervisor.daemon.process_table"},
    "watchdog": {"supervisor.daemon.watcher"},
    "filelock": {"supervisor.store.state_lock"},
    "prometheus_client": {"supervisor.report.export.prometheus"},
    "rich": set(),  # of benches only
    "dask": {"supervisor.launchers.agents.dask_agent"},
    "distributed": {"supervisor.launchers.agents.dask_agent"},
}
MODULES = sorted(
    path for package in ("supervisor", "workers") for path in (ROOT / package).rglob("*.py")
)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {module_name(path) for path in MODULES}


def package_of(name: str) -> str | None:
    """The longest prefix of a module's name that is in the order."""
    parts = name.split(".")
    prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((prefix for prefix in prefixes if prefix in ORDER), None)


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide their package"
            module = node.module or ""
            children = {f"{module}.{alias.name}" for alias in node.names}
            inside = children & NAMES
            found |= inside
            if inside != children:
                found.add(module)
    return found


def own_imports(path: Path) -> set[str]:
    """The modules of ours that a module imports; the bare packages hold nothing."""
    return (imports_of(path) & NAMES) - {"supervisor", "workers"}


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_module_imports_only_its_own_and_lower_packages(path: Path) -> None:
    name = module_name(path)
    if name in ("supervisor", "supervisor.core", "supervisor.report", "workers"):
        assert not own_imports(path)
        return
    package = package_of(name)
    assert package is not None, f"{name} is in no package of ORDER"
    for imported in own_imports(path):
        other = package_of(imported)
        assert other is not None, f"{name} imports {imported}, which is in no package of ORDER"
        assert ORDER.index(other) <= ORDER.index(package), f"{name} imports {imported}"


def test_imports_form_no_circle() -> None:
    graph = {module_name(path): own_imports(path) for path in MODULES}
    graphlib.TopologicalSorter(graph).prepare()


def test_no_module_is_imported_from_a_program() -> None:
    for path in MODULES:
        programs = {name for name in own_imports(path) if name.endswith("__main__")}
        assert not programs, f"{module_name(path)} imports {programs}"


def test_no_two_modules_have_the_same_name() -> None:
    names = collections.Counter(path.stem for path in MODULES)
    twice = {name for name, count in names.items() if count > 1}
    assert twice == {"__init__", "__main__"}


def test_no_two_classes_have_the_same_name() -> None:
    names = collections.Counter(
        node.name
        for path in MODULES
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_workers_use_the_standard_library_only(path: Path) -> None:
    name = module_name(path)
    if not name.startswith("workers"):
        return
    outside = {i.split(".")[0] for i in imports_of(path)} - set(sys.stdlib_module_names)
    assert outside <= {"workers"}, f"{name} imports {outside}"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_an_outside_package_is_imported_in_its_own_file_only(path: Path) -> None:
    name = module_name(path)
    for imported in imports_of(path):
        home = HOMES.get(imported.split(".")[0])
        assert home is None or name in home, f"{name} imports {imported}; that is for {home}"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_the_core_knows_no_time_no_chance_and_no_disk(path: Path) -> None:
    name = module_name(path)
    if name.startswith("supervisor.core"):
        assert not imports_of(path) & {"os", "time", "random", "datetime", "subprocess", "socket"}


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_file_has_one_subject(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= 350, f"{path} has {lines} lines: two subjects"


def test_order_lists_only_what_exists() -> None:
    for prefix in ORDER:
        assert any(name == prefix or name.startswith(f"{prefix}.") for name in NAMES), prefix
