"""``--env NAME[=VALUE]``: variables of a run's stages, given on the command line."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from supervisor.config.secrets import told_in
from supervisor.errors import UsageError
from workers.records.spec import Pairs

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OURS: Final = "SUPERVISED_"


def given_variables(
    given: Iterable[str], secrets: Iterable[str], environ: Mapping[str, str]
) -> Pairs:
    """Read the values of ``--env``.

    Args:
        given: each ``NAME=VALUE``, or ``NAME`` for the value that it has in ``environ``.
        secrets: names of variables whose values are never recorded.
        environ: the caller's environment.

    Returns:
        Names and values in order; of a name that is given twice, the last value.

    Raises:
        UsageError: a name cannot be a variable's, is not set, is ours, or is or holds a secret.
    """
    secrets = tuple(secrets)
    found: dict[str, str] = {}
    for item in given:
        name, is_given, value = item.partition("=")
        if _NAME.fullmatch(name) is None:
            raise UsageError(reason=f"--env {item!r}: give NAME or NAME=VALUE")
        if name.startswith(_OURS):
            raise UsageError(
                reason=f"--env {name}: names that begin with {_OURS} are the supervisor's"
            )
        if not is_given and name not in environ:
            raise UsageError(reason=f"--env {name}: it is not set here; give {name}=VALUE")
        value = value if is_given else environ[name]
        secret = name if name in secrets else next(iter(told_in(value, secrets, environ)), None)
        if secret is not None:
            raise UsageError(
                reason=f"--env {name}: the value of the secret {secret} would be kept in the run's "
                f"records; set {secret} in the environment of whoever starts the run: the "
                "supervisor's for 'submit', your own for 'run'"
            )
        found[name] = value
    return tuple(found.items())
