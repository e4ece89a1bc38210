"""Hiding secrets: exact bytes only, also if a secret arrives in two reads. No decoding."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

HIDDEN: Final = b"***"
SHORTEST_BYTES: Final = 4  # shorter values would mask ordinary text


def secret_values(names: Iterable[str], environ: Mapping[str, str]) -> tuple[bytes, ...]:
    """The values of the named variables that are long enough to be secrets, longest first."""
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
        """The masked stream so far; its end is held back, because it may begin a secret."""
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
        """The bytes that were held back, masked."""
        rest = self._pattern.sub(HIDDEN, self._held)
        self._held = b""
        return rest

    def text(self, text: str) -> str:
        """Mask a whole text."""
        return self._pattern.sub(HIDDEN, _bytes(text)).decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    """Encode as for a system call; spell out lone surrogates that stand for no byte."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")
