import json
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.records.json_text import indent_json

texts = st.text(st.characters(codec=None))
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner) | st.tuples(inner, inner)
)


@given(values)
def test_indent_json_writes_every_value_like_the_standard_library(value: object) -> None:
    assert indent_json(value) == json.dumps(value, indent=2)


def test_indent_json_writes_an_enumeration_as_text() -> None:
    class Word(StrEnum):
        ONE = "one"

    assert indent_json({Word.ONE: [Word.ONE]}) == json.dumps({Word.ONE: [Word.ONE]}, indent=2)


def test_indent_json_refuses_values_that_json_cannot_write() -> None:
    with pytest.raises(TypeError):
        indent_json({"a": object()})
