"""The floors hold: a module imports only lower floors, and a module on no floor fails here."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = {
    "workers.records": 0,
    "workers": 1,
    "supervisor.errors": 2,
    "supervisor.version": 2,
    "supervisor.core": 3,
    "supervisor.edge": 4,
    "supervisor.placement": 4,
    "supervisor.plan": 4,
    "supervisor.settings": 4,
    "supervisor.report": 4,
    "supervisor.engine": 5,
    "supervisor.wiring": 6,
    "supervisor.commands": 7,
    "supervisor.cli": 8,
    "supervisor.__main__": 8,
    "supervisor": 0,
}
# One outside thing per file: who may import what (docs/explanation/architecture.md).
HOMES = {
    "psutil": {"supervisor.edge.proctable"},
    "watchdog": {"supervisor.edge.watcher"},
    "filelock": {"supervisor.edge.locks"},
    "prometheus_client": {"supervisor.report.prometheus"},
    "rich": {"supervisor.report.live"},
    "dask": {"supervisor.placement.dask_agent"},
    "distributed": {"supervisor.placement.dask_agent"},
}
MODULES = sorted(
    path for package in ("supervisor", "workers") for path in (ROOT / package).rglob("*.py")
)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def floor_of(name: str) -> int | None:
    """The floor of the longest prefix that has one; ``supervisor`` itself is only the package."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        if prefix in FLOORS and (prefix != "supervisor" or name == "supervisor"):
            return FLOORS[prefix]
    return None


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide their floor"
            module = node.module or ""
            children = {f"{module}.{alias.name}" for alias in node.names}
            known = {module_name(p) for p in MODULES}
            inside = children & known
            found |= inside
            if inside != children:
                found.add(module)
    return found


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_module_imports_only_its_own_floor_and_lower_ones(path: Path) -> None:
    name = module_name(path)
    floor = floor_of(name)
    assert floor is not None, f"{name} stands on no floor: give it one in design and here"
    for imported in imports_of(path):
        if imported.split(".")[0] not in ("supervisor", "workers"):
            continue
        below = floor_of(imported)
        assert below is not None, f"{name} imports {imported}, which is on no floor"
        assert below <= floor, f"{name} (floor {floor}) imports {imported} (floor {below})"


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
    assert lines <= 400, f"{path} has {lines} lines: two subjects"


def test_floors_name_only_what_exists() -> None:
    names = {module_name(path) for path in MODULES}
    for prefix in FLOORS:
        assert any(n == prefix or n.startswith(f"{prefix}.") for n in names), prefix
