"""The values of the options ``--param`` and ``--env``."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from supervisor.config.secrets import secrets_in
from supervisor.errors import UsageError
from workers.records.json_text import is_utf_8
from workers.records.spec import Pairs

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED: Final = "SUPERVISED_"


def read_params(items: Iterable[str]) -> dict[str, str]:
    """Read ``--param NAME=VALUE``.

    Raises:
        UsageError: an item is not NAME=VALUE or not UTF-8, or a name is given twice.
    """
    params: dict[str, str] = {}
    problems = []
    for place, item in enumerate(items, 1):
        name, equals, value = item.partition("=")
        if not equals or not name:
            problems.append(f"--param number {place} must be NAME=VALUE")
        elif not is_utf_8(item):
            problems.append(f"--param number {place} is not UTF-8 text")
        elif name in params:
            problems.append(f"param {name!r} is given twice")
        params[name] = value
    if problems:
        raise UsageError(reason="\n".join(problems))
    return params


def read_variables(
    items: Iterable[str], secrets: Iterable[str], environ: Mapping[str, str]
) -> Pairs:
    """Read ``--env``.

    Args:
        items: each ``NAME=VALUE``, or ``NAME`` for its value in ``environ``.
        secrets: names of variables whose values are never recorded.
        environ: the caller's environment.

    Returns:
        Names and values in order; the last value of a name that is given twice.

    Raises:
        UsageError: a name is not one of a variable, is not set, is reserved, or is or contains a
            secret.
    """
    secrets = tuple(secrets)
    variables: dict[str, str] = {}
    for item in items:
        name, has_value, value = item.partition("=")
        if _NAME.fullmatch(name) is None:
            raise UsageError(reason=f"--env {item!r}: give NAME or NAME=VALUE")
        if name.startswith(_RESERVED):
            reason = f"--env {name}: names that begin with {_RESERVED} are set by the supervisor"
            raise UsageError(reason=reason)
        if not has_value and name not in environ:
            raise UsageError(reason=f"--env {name}: it is not set here; give {name}=VALUE")
        value = value if has_value else environ[name]
        secret = name if name in secrets else next(iter(secrets_in(value, secrets, environ)), None)
        if secret is not None:
            raise UsageError(
                reason=f"--env {name}: the value of the secret {secret} would be recorded; set "
                f"{secret} in the environment that starts the run: the supervisor's for 'submit', "
                "your own for 'run'"
            )
        variables[name] = value
    return tuple(variables.items())
