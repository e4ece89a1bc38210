r"""Text of the operating system that is not UTF-8, in records that are.

Arguments and paths are bytes; Python holds a byte that is not UTF-8 as half of a surrogate pair,
which JSON can spell (``\udce9``) and most readers refuse. So a record spells such a byte
``\xe9``, for people, and where a worker needs the very bytes (``command``, ``cwd``, ``env`` of a
spec) ``<key>_bytes`` next to it has them in base64. Records whose text is UTF-8 have no such key.
"""

import os
import re
from collections.abc import Callable
from typing import Any, Final

_HALF: Final = re.compile("[\ud800-\udfff]")
_SPELLED: Final = "\\ud"  # how JSON spells the halves, of whole pairs too


def is_utf_8(text: str) -> bool:
    """Check whether a text can be written as UTF-8."""
    return text.isascii() or _HALF.search(text) is None


def readable(text: str) -> str:
    r"""Spell the bytes of a text that are not UTF-8 as ``\xe9``."""
    return text if text.isascii() else _HALF.sub(_spell, text)


def to_json(value: Any, encode: Callable[[Any], str]) -> str:  # noqa: ANN401 - what json can write
    """Encode a value as JSON that every reader takes.

    Args:
        value: dicts, lists, tuples and scalars.
        encode: the encoder; it escapes what is not ASCII.
    """
    text = encode(value)
    return encode(_readable(value)) if _SPELLED in text else text


def bytes_to_base64(value: str | tuple[str, ...]) -> str | list[str]:
    """The bytes of a text, or of each of some texts, in base64."""
    import base64  # for the few specs that need it

    if isinstance(value, str):
        return base64.b64encode(os.fsencode(value)).decode()
    return [base64.b64encode(os.fsencode(item)).decode() for item in value]


def base64_to_text(text: str) -> str:
    """The text that ``bytes_to_base64`` had; ValueError if it is not base64."""
    import base64

    return os.fsdecode(base64.b64decode(text, validate=True))


def _readable(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, dict):
        return {readable(key): _readable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_readable(item) for item in value]
    return value


def _spell(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"
