"""The command ``supervisor``: its entry, which finds our own modules in any environment.

A caller may have a ``PYTHONPATH`` with packages called ``supervisor``, ``workers`` or ``click``,
and a working directory with modules of any name. This module has a name that nobody else uses, and
imports nothing but ``sys`` and ``os`` until it has put our own packages first. Variables that
change the interpreter itself are undone, too; the environment stays as it is, for the stages.
"""

import os
import sys
from typing import NoReturn

_HOME = os.path.dirname(os.path.abspath(__file__))


def main() -> None:
    """Run the command line."""
    isolate()
    from supervisor.__main__ import run

    run()


def isolate() -> None:
    """Undo what variables and the working directory did to this interpreter.

    ``python -I`` would do as much and needs a second interpreter (11 ms), which is started only if
    a variable changed what cannot be undone: docstrings that ``PYTHONOPTIMIZE`` dropped are the
    help texts, and ``PYTHONINSPECT`` would end every command in a prompt.
    """
    if sys.flags.isolated:
        return
    _own_modules_first()
    changed = {"PYTHONOPTIMIZE": sys.flags.optimize > 1, "PYTHONINSPECT": sys.flags.inspect}
    if any(flag and os.environ.get(name) for name, flag in changed.items()):
        _start_again()
    if os.environ.get("PYTHONWARNINGS") or os.environ.get("PYTHONDEVMODE"):
        import warnings

        warnings.resetwarnings()
        warnings.simplefilter("ignore")


def _start_again() -> NoReturn:
    from workers.processes.inherited import restore_locale

    restore_locale()
    program = "import sys; sys.path.append(sys.argv.pop(1)); import pipeline_supervisor as p; "
    words = ["-I", "-c", program + "p.main()", _HOME, *sys.argv[1:]]
    os.execv(sys.executable, [sys.executable, *words])


def _own_modules_first() -> None:
    """Look for modules of the caller last, and in the working directory not at all.

    PYTHONPATH stays in use behind everything else: an installation may have put us there.
    """
    if not sys.flags.safe_path:
        del sys.path[0]  # the directory of the script, or the working directory
    entries = {_absolute(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep)}
    theirs = [entry for entry in sys.path if entry in entries]
    sys.path[:] = [entry for entry in sys.path if entry not in entries]
    if _HOME not in sys.path:  # run from a checkout: both packages have to be that one's
        sys.path.insert(0, _HOME)
    sys.path += theirs


def _absolute(entry: str) -> str:
    try:
        return os.path.abspath(entry)
    except OSError:  # the working directory was deleted
        return entry
