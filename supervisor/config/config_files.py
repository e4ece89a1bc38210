"""Reading configuration files: regular UTF-8 files up to 1 MiB; errors name line and column."""

import json
import os
import re
import tomllib
from typing import Any, Final

from supervisor.errors import ConfigError, Problem
from workers.records.files import read_bytes
from workers.records.typed_errors import TypedError

SIZE_LIMIT_BYTES: Final = 1024 * 1024  # fault C7, C10: a larger file is not a configuration
KEY_PARTS_LIMIT: Final = 32  # tomllib needs memory in the square of it: 300,000 kill the process
_PART: Final = r"""\.[ \t]*(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*"""
_LONG_KEY: Final = re.compile(rf"(?:{_PART}){{{KEY_PARTS_LIMIT}}}")


def _fail(path: str, message: str) -> ConfigError:
    return ConfigError(problems=[Problem(path, "", message)])


def read_text(path: str) -> str:
    """Read a configuration file.

    Raises:
        ConfigError: it is missing, not a regular file, too large, or not UTF-8.
    """
    try:
        # People link their configuration; the target must be a regular file.
        data = read_bytes(os.path.realpath(path), SIZE_LIMIT_BYTES)
    except FileNotFoundError:
        raise _fail(path, "does not exist") from None
    except OSError as error:
        raise _fail(path, f"cannot be read: {error.strerror}") from None
    except TypedError as error:
        raise _fail(path, f"cannot be read: {error.facts['reason']}") from None
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in data[:64]:
        raise _fail(path, "looks like UTF-16; save it as UTF-8")
    if data.startswith(b"\xef\xbb\xbf"):
        raise _fail(path, "begins with a byte order mark; save it as UTF-8 without one")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise _fail(path, f"line {line} is not UTF-8 (latin-1?); save the file as UTF-8") from None


def read_toml(path: str) -> dict[str, Any]:
    """Read a TOML file; ConfigError if it is not one."""
    text = read_text(path)
    if _LONG_KEY.search(text):
        raise _fail(path, f"contains a key of more than {KEY_PARTS_LIMIT} parts")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _fail(path, f"is not valid TOML: {error}") from None
    except (RecursionError, ValueError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise _fail(path, f"is not usable TOML: {reason}") from None


def read_json(path: str) -> dict[str, Any]:
    """Read a JSON object; ConfigError if it is not one, or contains a key twice."""
    text = read_text(path)
    doubled: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in items]
        doubled.extend(key for key in set(keys) if keys.count(key) > 1)
        return dict(items)

    try:
        value = json.loads(text, object_pairs_hook=pairs)
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _fail(path, f"is not valid JSON: {error.msg} (at {place})") from None
    except UnicodeEncodeError:
        raise _fail(path, "contains half of a surrogate pair (\\ud800 to \\udfff)") from None
    except (RecursionError, ValueError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise _fail(path, f"is not usable JSON: {reason}") from None
    if doubled:
        raise _fail(path, f"contains the key {doubled[0]!r} twice in one object")
    if not isinstance(value, dict):
        raise _fail(path, "must be a JSON object")
    return value
