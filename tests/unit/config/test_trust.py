"""Whose configuration and whose root is used."""

import os
from pathlib import Path

import pytest

from supervisor.config.find_root import find_root
from supervisor.config.trust import (
    TRUSTED_DIRS,
    Trust,
    check_believable,
    check_configuration,
    check_writable,
    trust_of,
)
from supervisor.errors import ConfigError, ForeignRootError
from workers.records.layout import Layout

ME = os.geteuid()
OTHER = 54_321 if ME != 54_321 else 54_322
"""A caller to whom the test's own files belong to another user."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A root with a configuration that its owner alone can write."""
    root = tmp_path / "root"
    (root / "config").mkdir(parents=True)
    (root / "config/supervisor.toml").write_text("")
    for path in (root, root / "config"):
        path.chmod(0o755)
    (root / "config/supervisor.toml").chmod(0o644)
    return root


def trust(uid: int = ME, **environ: str) -> Trust:
    return trust_of(environ, uid)


def refusal(root: Path, who: Trust, *, named: bool = False, file: Path | None = None) -> str:
    """What a configuration is refused for, "" if it is not."""
    try:
        files = [str(file or root / "config/supervisor.toml")]
        check_configuration(files, str(root), who, named=named)
    except ConfigError as error:
        return str(error)
    return ""


def test_own_configuration_is_used(place: Path) -> None:
    assert refusal(place, trust()) == ""


@pytest.mark.skipif(ME == 0, reason="what root owns is trusted")
@pytest.mark.fault("S18")
def test_configuration_of_another_user_is_refused_with_path_and_fix(place: Path) -> None:
    told = refusal(place, trust(OTHER), named=True)
    assert f"{place}/config/supervisor.toml: belongs to " in told
    assert f"uid {ME}" in told
    assert f"{TRUSTED_DIRS}={place}" in told


@pytest.mark.fault("S18")
@pytest.mark.parametrize("part", ["", "config", "config/supervisor.toml"])
def test_found_configuration_that_everybody_can_write_is_refused(place: Path, part: str) -> None:
    (place / part).chmod(0o777)
    told = refusal(place, trust())
    assert f"{place / part}: can be written by every user (mode 777)" in told
    assert f"chmod go-w {place / part}" in told
    assert refusal(place, trust(), named=True) == "", "the caller named it"


@pytest.mark.fault("S18")
def test_directory_of_a_linked_configuration_is_checked_too(place: Path, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/s.toml").write_text("")
    (tmp_path / "shared").chmod(0o777)
    (place / "config/supervisor.toml").unlink()
    (place / "config/supervisor.toml").symlink_to(tmp_path / "shared/s.toml")
    assert f"{tmp_path}/shared: can be written by every user" in refusal(place, trust())


def test_sticky_directory_protects_the_files_of_others(place: Path) -> None:
    place.chmod(0o1777)
    assert refusal(place, trust()) == ""


@pytest.mark.skipif(ME != 0, reason="needs root")
def test_group_that_can_write_counts_unless_it_is_private(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import grp
    import pwd

    os.chown(place, 0, 7_777)
    place.chmod(0o775)
    assert f"{place}: can be written by group gid 7777" in refusal(place, trust())

    def group(members: list[str]) -> None:
        entry = grp.struct_group((pwd.getpwuid(0).pw_name, "x", 7_777, members))
        monkeypatch.setattr(grp, "getgrgid", lambda gid: entry)

    group([])
    assert refusal(place, trust()) == "", "the private group of its owner"
    group(["mallory"])
    assert f"{place}: can be written by group" in refusal(place, trust())


@pytest.mark.parametrize("above", [False, True])
def test_trusted_directory_includes_everything_below_it(place: Path, above: bool) -> None:
    place.chmod(0o777)
    listed = trust(SUPERVISOR_TRUSTED_DIRS=f"/nowhere:{place.parent if above else place}")
    assert refusal(place, listed) == ""
    assert refusal(place, trust(SUPERVISOR_TRUSTED_DIRS=f"{place}-other")) != ""


@pytest.mark.parametrize("value", ["a/b", "/a:b"])
def test_trusted_directory_must_be_absolute(value: str) -> None:
    with pytest.raises(ConfigError, match=r"is not an absolute path; separate .* with colons"):
        trust(SUPERVISOR_TRUSTED_DIRS=value)


def test_sudo_counts_for_root_only() -> None:
    assert trust(0, SUDO_UID="1000").owners == {0, 1000}
    assert trust(0, SUDO_UID="-1").owners == {0}
    assert trust(1001, SUDO_UID="1000").owners == {0, 1001}


@pytest.mark.skipif(ME == 0, reason="what root owns is trusted")
@pytest.mark.fault("S19")
def test_root_of_another_user_is_not_written(place: Path) -> None:
    layout = Layout(str(place))
    check_writable(layout, trust())
    with pytest.raises(ForeignRootError, match=f"{place} belongs to .*uid {ME}"):
        check_writable(layout, trust(OTHER))
    check_writable(layout, trust(OTHER, SUPERVISOR_TRUSTED_DIRS=str(place)))


@pytest.mark.fault("S19")
def test_trust_does_not_mix_records_of_two_users(place: Path) -> None:
    (place / ".runs").mkdir()
    listed = trust(OTHER, SUPERVISOR_TRUSTED_DIRS=str(place))
    with pytest.raises(ForeignRootError, match=f"{place}/.runs belongs to"):
        check_writable(Layout(str(place)), listed)
    check_believable(Layout(str(place)), listed)
    with pytest.raises(ForeignRootError, match=f"read them with --root {place}"):
        check_believable(Layout(str(place)), trust(OTHER))


@pytest.mark.fault("S19")
def test_records_of_another_user_are_passed_by_in_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/.runs").mkdir()
    monkeypatch.chdir(tmp_path / "a/b")

    def found(who: Trust) -> str:
        return find_root(root=None, config=None, environ={}, trust=who).root

    assert found(trust()) == f"{tmp_path}/a"
    assert found(trust(OTHER)) == f"{tmp_path}/a/b"
