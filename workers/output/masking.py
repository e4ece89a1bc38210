"""Hiding secrets: exact bytes only, also where a secret arrives in two reads. No decoding."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

HIDDEN: Final = b"***"
SHORTEST_BYTES: Final = 4  # shorter values would mask ordinary text


def secret_values(names: Iterable[str], environ: Mapping[str, str]) -> tuple[bytes, ...]:
    """The values to hide: of the named variables, where they are long enough to be secrets."""
    values = {_bytes(environ.get(name, "")) for name in names}
    return tuple(sorted((v for v in values if len(v) >= SHORTEST_BYTES), key=len, reverse=True))


class Mask:
    """Replaces secrets in one stream.

    Args:
        secrets: the values, longest first; at least one.
    """

    def __init__(self, secrets: tuple[bytes, ...]) -> None:
        self._pattern = re.compile(b"|".join(re.escape(secret) for secret in secrets))
        self._hold_bytes = len(secrets[0]) - 1
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What can be told of the stream so far; the end is held back until more is known."""
        data = self._held + data
        cut = max(0, len(data) - self._hold_bytes)
        parts = []
        at = 0
        for match in self._pattern.finditer(data):
            if match.start() >= cut:
                break
            parts += [data[at : match.start()], HIDDEN]
            at = match.end()
        cut = max(cut, at)
        self._held = data[cut:]
        return b"".join([*parts, data[at:cut]])

    def finish(self) -> bytes:
        """What was held back."""
        rest = self._pattern.sub(HIDDEN, self._held)
        self._held = b""
        return rest

    def text(self, text: str) -> str:
        """Hide the secrets in a text at once."""
        return self._pattern.sub(HIDDEN, _bytes(text)).decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    """As the system gets it; what no system call takes (half of a character) is spelled out."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")
