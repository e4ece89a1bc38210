import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.records.clock import epoch_of, utc_text


@given(st.integers(0, 253_402_300_799_000))
def test_instant_survives_a_round_trip_to_the_millisecond(millis: int) -> None:
    text = utc_text(millis / 1000)
    assert len(text) == 24
    assert abs(epoch_of(text) - millis / 1000) < 0.0011


@pytest.mark.parametrize("bad", ["", "2025-10-31T22:56:35Z", "2025-10-31 22:56:35.120Z", "x" * 24])
def test_text_of_another_form_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        epoch_of(bad)
