import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.records.ids import check_id, check_run_id, id_problem, is_run_id, new_run_id
from workers.records.layout import Layout
from workers.records.typed_errors import BadIdError


@pytest.mark.parametrize("good", ["a", "0202-x", "A.b_c-d", "a" * 100])
def test_id_of_allowed_characters_is_accepted(good: str) -> None:
    assert check_id("task", good) == good


TRAVERSALS = ("", ".", "..", "../x", "/abs", "a/b", "-a", ".a", "a..b")
HOSTILE = ("a\n", "a b", "a\0", "\u202ea", "a" * 101, "é", "x.lock", "X.LOCK", "$(id)", "a;b")


@pytest.mark.fault("C6", "F27", "S9")
@pytest.mark.parametrize("bad", TRAVERSALS + HOSTILE)
def test_id_that_leaves_its_directory_or_misleads_a_reader_is_refused(bad: str) -> None:
    with pytest.raises(BadIdError) as caught:
        check_id("task", bad)
    assert repr(bad) in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.fault("C6")
@given(st.text(max_size=120))
def test_accepted_id_is_one_name_inside_its_directory(text: str) -> None:
    if id_problem(text) is None:
        path = Layout("/r").task_dir(text)
        assert path == f"/r/.runs/{text}"
        assert "/" not in text
        assert text not in (".", "..")


def test_run_ids_sort_by_time_and_have_the_documented_form() -> None:
    first = new_run_id(epoch_s=1761951394.431, entropy=bytes.fromhex("9574035c"))
    assert first == "2025-10-31T22-56-34-431Z-9574035c"
    later = new_run_id(epoch_s=1761951394.432, entropy=b"\0\0\0\0")
    assert first < later
    assert is_run_id(first)
    with pytest.raises(BadIdError):
        check_run_id("latest")


@pytest.mark.fault("T5")
@pytest.mark.parametrize("epoch_s", [-1e12, 0.0, 4e9, 1e18])
def test_broken_clock_still_gives_a_run_id(epoch_s: float) -> None:
    assert is_run_id(new_run_id(epoch_s=epoch_s, entropy=b"abcd"))
