"""Secrets that somebody wrote down: refused before a record could hold them.

``spec.json`` keeps what a worker needs for as long as the run's directory is there, so the value of
a variable that ``secrets`` names may stand neither in a pipeline nor in a command: it belongs into
the supervisor's environment, which every stage inherits.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from supervisor.config.settings import Settings
from supervisor.errors import Problem
from workers.records.hooks import HookEvent
from workers.records.json_reader import to_plain
from workers.records.params import param_variable
from workers.records.spec import PipelineSpec

TELLING_CHARS: Final = 8  # a shorter value is a word that may stand anywhere
MEND: Final = "it would be kept in spec.json; set it in the supervisor's environment instead"


def written_down(
    pipelines: Iterable[PipelineSpec],
    places: Mapping[str, str],
    secrets: Iterable[str],
    environ: Mapping[str, str],
) -> list[Problem]:
    """Find secrets in pipelines.

    Args:
        pipelines: what people wrote.
        places: for each pipeline's id the file that it stands in.
        secrets: the names of secret variables.
        environ: the environment, for their values.

    Returns:
        A problem for each place; none of them repeats a value.
    """
    names = frozenset(secrets)
    found = []
    for pipeline in pipelines:
        source, at = places.get(pipeline.id, "command line"), f"pipelines.{pipeline.id}"
        tables = [(f"{at}.env", pipeline.env)]
        tables += [(f"{at}.stages[{i}].env", s.env) for i, s in enumerate(pipeline.stages)]
        for place, pairs in tables:
            for name in sorted(names & {name for name, _ in pairs}):
                found.append(
                    Problem(source, f"{place}.{name}", f"is the value of a secret: {MEND}")
                )
        for item in pipeline.takes:
            if param_variable(item.name) in names:
                found.append(Problem(source, f"{at}.params.{item.name}", f"is a secret: {MEND}"))
        for name in told_in(to_plain(pipeline), names, environ):
            found.append(Problem(source, at, f"holds the value of the secret {name}: {MEND}"))
    return found


def hooks_written_down(
    settings: Settings, source: str, environ: Mapping[str, str]
) -> list[Problem]:
    """Find secrets in the hooks of the settings; ``source`` is where people would have put them."""
    found = []
    for key in HookEvent:
        for name in told_in(getattr(settings, key), settings.secrets, environ):
            text = f"holds the value of the secret {name}: {MEND}"
            found.append(Problem(source, f"supervisor.{key}", text))
    return found


def told_in(value: object, secrets: Iterable[str], environ: Mapping[str, str]) -> list[str]:
    """The names of the secrets whose values stand in any text of a value, sorted."""
    texts = list(_texts(value))
    values = {name: environ.get(name, "") for name in secrets}
    return sorted(
        name
        for name, secret in values.items()
        if len(secret) >= TELLING_CHARS and any(secret in text for text in texts)
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
