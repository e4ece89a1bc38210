"""Typed reading of a JSON object, key by key, with errors that name file and key path.

Small on purpose: pydantic validates what people write; records are written by this project and only
need to be distinguished from damaged ones. Unknown keys are ignored.
"""

import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

from workers.records.ids import id_problem
from workers.records.json_text import base64_to_text, bytes_to_base64, is_utf_8
from workers.records.limits import INTEGER_LIMIT, NUMBER_LIMIT
from workers.records.typed_errors import BadRecordError, NewerRecordError

_PAIRS: Final = ("env", "params", "resources")  # fields that hold pairs of a name and a value
_EXACT: Final = ("command", "cwd", "env")  # fields whose exact bytes a worker needs
_NUMBER: Final = re.compile(r"[0-9]{1,9}")  # of a format
_names_of: Final[dict[type, tuple[str, ...]]] = {}  # a dataclass's fields; () for another type
Record = TypeVar("Record")
Value = TypeVar("Value")


def to_plain(value: Any) -> Any:  # noqa: ANN401 - any dataclass, tuple or scalar of the protocol
    """Convert dataclasses and tuples to what json can write; pairs become an object."""
    kind = type(value)
    if kind is tuple:
        return [to_plain(item) for item in value]
    names = _names_of.get(kind)
    if names is None:
        names = _names_of[kind] = tuple(getattr(kind, "__dataclass_fields__", ()))
    if not names:
        return value
    fields = {name: to_plain(getattr(value, name)) for name in names}
    for name in _PAIRS:
        if name in fields:
            fields[name] = dict(getattr(value, name))
    return _with_bytes(fields)


def _with_bytes(fields: dict[str, Any]) -> dict[str, Any]:
    """Add the exact bytes of values that are not UTF-8, see ``json_text``."""
    for name in _EXACT:
        value = fields.get(name)
        if isinstance(value, str) and not is_utf_8(value):
            fields[f"{name}_bytes"] = bytes_to_base64(value)
        elif isinstance(value, list) and not all(map(is_utf_8, value)):
            fields[f"{name}_bytes"] = bytes_to_base64(tuple(value))
        elif isinstance(value, dict):
            exact = {k: bytes_to_base64(text) for k, text in value.items() if not is_utf_8(text)}
            if exact:
                fields[f"{name}_bytes"] = exact
    return fields


def check_schema(data: dict[str, Any], known: str, path: str) -> None:
    """Check a record against the format that this version reads.

    Args:
        data: the record; its ``schema`` is ``<name>/<number>``.
        known: the format's name and number.
        path: the file that it came from, for the error.

    Raises:
        NewerRecordError: it has the same name and a higher number.
        BadRecordError: it has another format.
    """
    schema = data.get("schema")
    if schema == known:
        return
    if not isinstance(schema, str):
        raise BadRecordError(path=path, reason="schema must be a string")
    known_name, _, known_number = known.rpartition("/")
    name, _, number = schema.rpartition("/")
    if name == known_name and _NUMBER.fullmatch(number) and int(number) > int(known_number):
        raise newer_record(path, schema)
    raise BadRecordError(path=path, reason=f"schema is {schema!r:.100}, not {known!r}")


def newer_record(path: str, version: object) -> NewerRecordError:
    """The error for a record of a later version."""
    reason = f"is of a newer format ({version}): use the version that wrote it"
    return NewerRecordError(path=path, reason=reason)


def _optional(
    read: Callable[["JsonReader", str], Value],
) -> Callable[["JsonReader", str], Value | None]:
    """The same method, with None for a key that is missing or null."""

    def read_or_none(self: "JsonReader", key: str) -> Value | None:
        return None if self._data.get(key) is None else read(self, key)

    return read_or_none


class JsonReader:
    """A reader of one JSON object.

    Each method returns the value of one key and raises BadRecordError if it has another type; an
    ``_or_none`` method returns None if the key is missing or null.

    Args:
        data: the object.
        path: the file that it came from.
        at: the object's key path inside the file, "" for the whole.
    """

    def __init__(self, data: dict[str, Any], path: str, at: str = "") -> None:
        self._data = data
        self._path = path
        self._at = at

    def bad(self, key: str, problem: str) -> BadRecordError:
        """The error for one key."""
        return BadRecordError(path=self._path, reason=f"{self._at}{key} {problem}")

    def require(self, *keys: str) -> None:
        """Raise BadRecordError unless the object has these keys, with any values."""
        for key in keys:
            if key not in self._data:
                raise self.bad(key, "is missing")

    def _get(self, key: str, kinds: type | tuple[type, ...], name: str) -> Any:  # noqa: ANN401
        value = self._data.get(key)
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            raise self.bad(key, f"must be {name}")
        return value

    def text(self, key: str) -> str:
        """A string."""
        return str(self._get(key, str, "a string"))

    def number(self, key: str) -> float:
        """A number from 0 to NUMBER_LIMIT."""
        try:
            value = float(self._get(key, (int, float), "a number"))
        except OverflowError:
            value = float("inf")
        if not 0 <= value <= NUMBER_LIMIT:
            raise self.bad(key, f"must be a number from 0 to {NUMBER_LIMIT:g}")
        return value

    def integer(self, key: str, least: int = -INTEGER_LIMIT, most: int = INTEGER_LIMIT) -> int:
        """An integer from ``least`` to ``most``."""
        value = int(self._get(key, int, "a whole number"))
        if not least <= value <= most:
            if (least, most) == (-INTEGER_LIMIT, INTEGER_LIMIT):
                raise self.bad(key, "must be a whole number of 64 bits")
            raise self.bad(key, f"must be a whole number from {least} to {most}")
        return value

    def integer_or(self, key: str, default: int) -> int:
        """An integer; ``default`` if the key is missing or null."""
        return default if self._data.get(key) is None else self.integer(key)

    def integers(self, key: str) -> tuple[int, ...]:
        """A list of integers."""
        items = self._get(key, list, "a list of whole numbers")
        if not all(map(_is_integer, items)):
            raise self.bad(key, "must be a list of whole numbers")
        return tuple(items)

    def flag(self, key: str) -> bool:
        """True or false."""
        return bool(self._get(key, bool, "true or false"))

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings; empty if the key is missing."""
        items = self._data.get(key, [])
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise self.bad(key, "must be a list of strings")
        return tuple(items)

    text_or_none = _optional(text)
    number_or_none = _optional(number)
    integer_or_none = _optional(integer)
    integers_or_none = _optional(integers)
    texts_or_none = _optional(texts)

    def command_or_none(self, key: str) -> str | tuple[str, ...] | None:
        """A string or a list of strings, by its bytes if they are recorded."""
        exact = self._exact(key)
        if isinstance(self._data.get(key), list):
            if isinstance(exact, list):
                return tuple(self._from_base64(key, item) for item in exact)
            return self.texts(key)
        return self.path_or_none(key)

    def path_or_none(self, key: str) -> str | None:
        """A string, by its bytes if they are recorded."""
        exact = self._exact(key)
        return self.text_or_none(key) if exact is None else self._from_base64(key, exact)

    def _exact(self, key: str) -> Any:  # noqa: ANN401
        """The base64 next to a value that is not UTF-8; None for every other."""
        return self._data.get(f"{key}_bytes")

    def _from_base64(self, key: str, value: object) -> str:
        try:
            return base64_to_text(str(value))
        except ValueError:
            raise self.bad(f"{key}_bytes", "must be base64") from None

    def pairs(self, key: str) -> tuple[tuple[str, str], ...]:
        """An object of strings; empty if the key is missing."""
        items = self._data.get(key, {})
        if not isinstance(items, dict) or not all(isinstance(v, str) for v in items.values()):
            raise self.bad(key, "must be an object of strings")
        exact = self._exact(key)
        if isinstance(exact, dict):
            items = items | {name: self._from_base64(key, text) for name, text in exact.items()}
        return tuple(items.items())

    def amounts(self, key: str) -> tuple[tuple[str, float], ...]:
        """An object of numbers above 0, with ids as keys; empty if the key is missing."""
        items = self._data.get(key, {})
        if not isinstance(items, dict):
            raise self.bad(key, "must be an object of numbers")
        read = JsonReader(items, self._path, f"{self._at}{key}.")
        for name in items:
            if read.number(name) == 0:
                raise read.bad(name, "must be more than 0")
            if problem := id_problem(name):
                raise self.bad(key, f"name {name!r}, which {problem}")
        return tuple(items.items())

    def counts(self, key: str) -> dict[str, int]:
        """An object of integers; empty if the key is missing."""
        items = self._data.get(key, {})
        if not isinstance(items, dict) or not all(map(_is_integer, items.values())):
            raise self.bad(key, "must be an object of whole numbers")
        return dict(items)

    def names(self) -> list[str]:
        """The keys of the object."""
        return list(self._data)

    def child(self, key: str) -> "JsonReader":
        """An object inside this one."""
        return JsonReader(self._get(key, dict, "an object"), self._path, f"{self._at}{key}.")

    child_or_none = _optional(child)

    def objects(self, key: str) -> list[dict[str, Any]]:
        """A list of objects, unchecked; empty if the key is missing or null."""
        items = self._data.get(key)
        if items is None:
            return []
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise self.bad(key, "must be a list of objects")
        return items

    def children(self, key: str) -> list["JsonReader"]:
        """A list of objects; empty if the key is missing or null."""
        items = self.objects(key)
        return [JsonReader(v, self._path, f"{self._at}{key}[{i}].") for i, v in enumerate(items)]


def _is_integer(value: object) -> bool:
    return type(value) is int and -INTEGER_LIMIT <= value <= INTEGER_LIMIT


Read = Callable[[JsonReader, str], Any]
_READERS: Final[dict[object, Read]] = {
    str: JsonReader.text,
    str | None: JsonReader.text_or_none,
    int: JsonReader.integer,
    int | None: JsonReader.integer_or_none,
    float: JsonReader.number,
    float | None: JsonReader.number_or_none,
    bool: JsonReader.flag,
    str | tuple[str, ...] | None: JsonReader.command_or_none,
    tuple[str, ...]: JsonReader.texts,
    tuple[str, ...] | None: JsonReader.texts_or_none,
    tuple[int, ...]: JsonReader.integers,
    tuple[int, ...] | None: JsonReader.integers_or_none,
    tuple[tuple[str, str], ...]: JsonReader.pairs,
    tuple[tuple[str, float], ...]: JsonReader.amounts,
}
_readers_of: Final[dict[type, tuple[tuple[str, Read], ...]]] = {}


def read_record(record: type[Record], read: JsonReader, **given: Any) -> Record:  # noqa: ANN401
    """Read an object into a dataclass, each field according to its type.

    A field that a later version added must have a type that may be missing: a tuple, or a union
    with None. Every call for a class must pass the same names in ``given``.

    Args:
        record: the dataclass; it may contain dataclasses, and tuples of them.
        read: the object.
        given: fields that the caller has read itself.

    Raises:
        BadRecordError: the object does not fit; the error names the key.
    """
    readers = _readers_of.get(record)
    if readers is None:
        fields: Any = record.__dict__["__dataclass_fields__"].values()
        readers = tuple((f.name, _reader_of(f.name, f.type)) for f in fields if f.name not in given)
        _readers_of[record] = readers
    return record(**{name: reader(read, name) for name, reader in readers}, **given)


def _reader_of(name: str, kind: Any) -> Read:  # noqa: ANN401
    if name in _EXACT and kind == str | None:
        return JsonReader.path_or_none
    if kind in _READERS:
        return _READERS[kind]
    if hasattr(kind, "__dataclass_fields__"):
        return lambda read, key: read_record(kind, read.child(key))
    item = kind.__args__[0]
    return lambda read, key: tuple(read_record(item, child) for child in read.children(key))
