"""Every invalid configuration of the corpus is refused with exit status 78, file and key path."""

import os
import re
from pathlib import Path

import pytest

from supervisor.config.batches import load_batch
from supervisor.config.catalog import load_catalog
from supervisor.config.find_root import project_file
from supervisor.config.load_settings import load_settings
from supervisor.errors import ConfigError
from tests.contract.corpus_cases import CASES, CORPUS, GOOD, Case


def read_all(root: Path, case: Case) -> None:
    """Read everything and report every problem, as a command does before it creates anything."""
    problems = []
    project = project_file(str(root), None)
    environ = {"HOME": str(root / "home"), **case.environ}
    catalog = None
    try:
        load_settings(flags={}, project=project, environ=environ)
    except ConfigError as error:
        problems += error.problems
    try:
        catalog = load_catalog(str(root), project)
    except ConfigError as error:
        problems += error.problems
    if case.kind == "batch" and catalog is not None:
        load_batch(str(case.path(root)), root=str(root), catalog=catalog)
    if problems:
        raise ConfigError(problems=problems)


def params() -> list[object]:
    found = []
    for case in CASES:
        marks = [pytest.mark.fault(*case.rows)]
        if case.pending:
            marks.append(pytest.mark.xfail(reason=case.pending, strict=True))
        found.append(pytest.param(case, id=case.file, marks=marks))
    return found


@pytest.mark.timeout(10)
@pytest.mark.parametrize("case", params())
def test_invalid_configuration_is_refused_with_file_and_key(case: Case, tmp_path: Path) -> None:
    case.lay_out(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError) as caught:
        read_all(tmp_path, case)
    case.check(str(caught.value), tmp_path)
    assert caught.value.exit_code == 78
    assert sorted(tmp_path.rglob("*")) == before


def test_index_lists_every_file() -> None:
    there = {path.name for path in CORPUS.iterdir()} - {"index.toml"}
    listed = {case.file for case in CASES if re.search(r"\.(toml|json)$", case.file)}
    assert there == listed
    assert len(CASES) >= 45


@pytest.mark.fault("C18")
@pytest.mark.parametrize("text", [GOOD, GOOD.replace("\n", "\r\n"), "", "# only a comment\n"])
def test_valid_configuration_is_read(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config" / "supervisor.toml"
    path.parent.mkdir()
    path.write_bytes(text.encode())
    load_settings(flags={}, project=str(path), environ={})
    catalog = load_catalog(str(tmp_path), str(path))
    assert list(catalog.pipelines) == (["good"] if "good" in text else [])


def test_missing_configuration_is_empty(tmp_path: Path) -> None:
    assert project_file(str(tmp_path), None) is None
    assert load_catalog(str(tmp_path), None).pipelines == {}


def test_missing_named_configuration_is_an_error(tmp_path: Path) -> None:
    path = os.path.join(tmp_path, "no.toml")
    with pytest.raises(ConfigError, match=re.escape(path)):
        load_settings(flags={}, project=project_file(str(tmp_path), path), environ={})
