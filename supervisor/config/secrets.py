"""Secrets in a configuration: refused before a record could contain them.

``spec.json`` is kept as long as the run's directory. The value of a variable that ``secrets`` names
must therefore be neither in a pipeline nor in a command: it belongs into the supervisor's
environment, which every stage inherits.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from supervisor.config.settings import Settings
from supervisor.errors import Problem
from workers.records.hooks import HookEvent
from workers.records.json_reader import to_plain
from workers.records.params import param_variable
from workers.records.spec import PipelineSpec

SEARCHED_CHARS: Final = 8  # a shorter value may be part of any text by chance
FIX: Final = "it would be recorded in spec.json; set it in the supervisor's environment instead"


def secret_problems(
    pipelines: Iterable[PipelineSpec],
    places: Mapping[str, str],
    secrets: Iterable[str],
    environ: Mapping[str, str],
) -> list[Problem]:
    """Find secrets in pipelines.

    Args:
        pipelines: the configured pipelines.
        places: for each pipeline's id the file that defines it.
        secrets: names of secret variables.
        environ: the environment, for their values.

    Returns:
        A problem for each place; none contains a value.
    """
    names = frozenset(secrets)
    problems = []
    for pipeline in pipelines:
        source, at = places.get(pipeline.id, "command line"), f"pipelines.{pipeline.id}"
        tables = [(f"{at}.env", pipeline.env)]
        tables += [(f"{at}.stages[{i}].env", s.env) for i, s in enumerate(pipeline.stages)]
        for place, pairs in tables:
            for name in sorted(names & {name for name, _ in pairs}):
                text = f"is the value of a secret: {FIX}"
                problems.append(Problem(source, f"{place}.{name}", text))
        for item in pipeline.takes:
            if param_variable(item.name) in names:
                problems.append(Problem(source, f"{at}.params.{item.name}", f"is a secret: {FIX}"))
        for name in secrets_in(to_plain(pipeline), names, environ):
            problems.append(Problem(source, at, contains(name)))
    return problems


def hook_secret_problems(
    settings: Settings, source: str, environ: Mapping[str, str]
) -> list[Problem]:
    """Find secrets in the hooks of the settings, which come from ``source``."""
    return [
        Problem(source, f"supervisor.{event}", contains(name))
        for event in HookEvent
        for name in secrets_in(getattr(settings, event), settings.secrets, environ)
    ]


def contains(name: str) -> str:
    """The message for a text that contains the value of the secret ``name``."""
    return f"contains the value of the secret {name}: {FIX}"


def secrets_in(value: object, secrets: Iterable[str], environ: Mapping[str, str]) -> list[str]:
    """The sorted names of the secrets whose values are part of any text in ``value``."""
    texts = list(_texts(value))
    values = {name: environ.get(name, "") for name in secrets}
    return sorted(
        name
        for name, secret in values.items()
        if len(secret) >= SEARCHED_CHARS and any(secret in text for text in texts)
    )


def _texts(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for item in value.values():
                yield from _texts(item)
        case list():
            for item in value:
                yield from _texts(item)
        case _:
            return
