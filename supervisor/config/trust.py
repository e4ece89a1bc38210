"""Whose configuration and whose root is used: the caller's, root's, or one that the caller trusts.

A configuration names programs that run as the caller, and a root names processes to signal and
directories to remove. So neither is used if another user owns it or could have replaced it. As with
git's ``safe.directory`` the caller lists exceptions, in the environment variable
``SUPERVISOR_TRUSTED_DIRS``: absolute directories, separated by colons; each includes everything
below it.

* Owners that count: the caller and root; for root also the user who called ``sudo``.
* A file that is found, not named, may be written by its owner alone: neither by others nor by a
  group, unless that group is the owner's private group or root's. In a sticky directory nobody
  replaces a file of another user.
* Root writes in its own roots only: records of another owner would be refused by the root's owner.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from supervisor.errors import ConfigError, ForeignRootError, Problem
from workers.records.dataclass import dataclass
from workers.records.layout import Layout

TRUSTED_DIRS: Final = "SUPERVISOR_TRUSTED_DIRS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Who is trusted.

    Attributes:
        uid: the caller.
        sudo_uid: the user who became root by ``sudo``; None for every other caller.
        dirs: directories, resolved, in which every owner and mode is accepted.
    """

    uid: int
    sudo_uid: int | None
    dirs: tuple[str, ...]

    @property
    def owners(self) -> frozenset[int]:
        """The users whose configuration counts."""
        return frozenset({self.uid, 0} if self.sudo_uid is None else {self.uid, 0, self.sudo_uid})

    @property
    def readers(self) -> frozenset[int]:
        """The users whose records are believed if they were found and not named."""
        return frozenset({self.uid} if self.sudo_uid is None else {self.uid, self.sudo_uid})

    def includes(self, path: str) -> bool:
        """Check whether a path is, or is below, a directory of ``dirs``."""
        place = os.path.realpath(path)
        return any(place == top or place.startswith(top.rstrip("/") + "/") for top in self.dirs)


def trust_of(environ: Mapping[str, str], uid: int) -> Trust:
    """Read who is trusted.

    Args:
        environ: the environment.
        uid: the caller's effective user id.

    Raises:
        ConfigError: an entry of ``SUPERVISOR_TRUSTED_DIRS`` is not an absolute path.
    """
    entries = [entry for entry in environ.get(TRUSTED_DIRS, "").split(":") if entry]
    for number, entry in enumerate(entries, 1):
        if not os.path.isabs(entry):
            what = f"entry {number} is not an absolute path; separate directories with colons"
            raise ConfigError(problems=[Problem(TRUSTED_DIRS, "", what)])
    by_sudo = environ.get("SUDO_UID", "") if uid == 0 else ""
    return Trust(
        uid=uid,
        sudo_uid=int(by_sudo) if by_sudo.isascii() and by_sudo.isdecimal() else None,
        dirs=tuple(os.path.realpath(entry) for entry in entries),
    )


def check_configuration(files: Iterable[str], root: str, trust: Trust, *, named: bool) -> None:
    """Check that nobody else wrote, or can write, files that commands are read from.

    Args:
        files: the files; one that does not exist counts as checked.
        root: the root, whose owner can replace the files below it.
        trust: who is trusted.
        named: the caller named the root or the file, so only the owner is checked.

    Raises:
        ConfigError: each path that is not trusted, with its owner or mode and the fix.
    """
    found = untrusted(files, root, trust, named=named)
    problems = [Problem(item.path, "", f"{item.why}; {item.fix}") for item in found]
    if problems:
        raise ConfigError(problems=problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Untrusted:
    """A path by which another user could choose what the caller runs: why, and how to fix it."""

    path: str
    why: str
    fix: str


def untrusted(files: Iterable[str], root: str, trust: Trust, *, named: bool) -> Iterator[Untrusted]:
    """Find what ``check_configuration`` refuses; each path once."""
    seen: set[str] = set()
    for file in files:
        for path in _places(file, root):
            if path in seen:
                continue
            seen.add(path)
            try:
                found = os.lstat(path)
            except OSError:
                continue  # reading it will fail, or there is nothing to read
            why = _foreign(found, trust.owners) or (None if named else _writers(found))
            if why is None or trust.includes(path):
                continue
            own = found.st_uid in trust.owners
            fix = f"run 'chmod go-w {path}'" if own else "use a root of your own with --root"
            fix += f", or trust it with {TRUSTED_DIRS}={os.path.realpath(root)}"
            yield Untrusted(path=path, why=f"{why}: its commands are not run", fix=fix)


def check_writable(layout: Layout, trust: Trust) -> None:
    """Check that a root is the caller's before anything is written there.

    Raises:
        ForeignRootError: it, its records or its results belong to another user.
    """
    for path in (layout.runs, layout.out, layout.control):
        found = _lstat(path)
        if found and found.st_uid != trust.uid:  # our records next to theirs: nobody could use both
            fix = "run as that user, or choose another --root"
            raise ForeignRootError(path=path, owner=owner_name(found.st_uid), fix=fix)
    found = _lstat(layout.root)
    if found and _foreign(found, frozenset({trust.uid, 0})) and not trust.includes(layout.root):
        fix = "run as that user, choose another --root, or trust it with "
        fix += f"{TRUSTED_DIRS}={layout.root}"
        raise ForeignRootError(path=layout.root, owner=owner_name(found.st_uid), fix=fix)


def check_believable(layout: Layout, trust: Trust) -> None:
    """Check that records which were found, not named, are the caller's before they are read.

    Raises:
        ForeignRootError: another user could have written them.
    """
    for path, owners in ((layout.runs, trust.readers), (layout.out, trust.owners)):
        found = _lstat(path)
        if found and _foreign(found, owners) and not trust.includes(path):
            fix = f"read them with --root {layout.root}, or choose another --root"
            raise ForeignRootError(path=path, owner=owner_name(found.st_uid), fix=fix)


def is_believable(runs: str, trust: Trust) -> bool:
    """Check whether a directory of runs counts when a root is searched for."""
    found = _lstat(runs)
    return found is not None and (found.st_uid in trust.readers or trust.includes(runs))


def owner_name(uid: int) -> str:
    """A user as a message names it: ``ann (uid 1000)``."""
    import pwd  # for messages only

    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def _places(file: str, root: str) -> Iterator[str]:
    """A file, what it links to, and the directories in which either could be replaced."""
    if os.path.lexists(file):
        if file.startswith(root.rstrip("/") + "/"):
            yield root
        for path in dict.fromkeys((file, os.path.realpath(file))):
            yield os.path.dirname(path)
            yield path


def _lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None  # using it says why


def _foreign(found: os.stat_result, owners: frozenset[int]) -> str | None:
    return None if found.st_uid in owners else f"belongs to {owner_name(found.st_uid)}"


def _writers(found: os.stat_result) -> str | None:
    """Name who can write a file, or replace one in a directory, besides its owner."""
    mode = found.st_mode
    if stat.S_ISLNK(mode) or (stat.S_ISDIR(mode) and mode & stat.S_ISVTX):
        return None
    if mode & stat.S_IWOTH:
        return f"can be written by every user (mode {stat.S_IMODE(mode):o})"
    if mode & stat.S_IWGRP and not _is_private(found.st_gid, found.st_uid):
        return f"can be written by group {_group_name(found.st_gid)}"
    return None


def _is_private(gid: int, uid: int) -> bool:
    """Check whether a group has one member: the user whose name it has. Root's group counts."""
    import grp  # for files that a group can write
    import pwd

    if gid == 0:
        return True
    try:
        group = grp.getgrgid(gid)
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        return gid == uid  # a container without a list of users
    return group.gr_name == name and set(group.gr_mem) <= {name}


def _group_name(gid: int) -> str:
    import grp

    try:
        return f"{grp.getgrgid(gid).gr_name} (gid {gid})"
    except KeyError:
        return f"gid {gid}"
