from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.policy.backoff import Backoff

LOCK = Backoff(attempts_count=5, delay_s=0.1, factor=2.0, max_delay_s=1.0)


def test_default_lock_schedule_waits_less_than_3_s_in_total() -> None:
    assert LOCK.longest_s() == 0.1 + 0.2 + 0.4 + 0.8
    assert LOCK.longest_s() < 3


def test_no_wait_after_the_last_attempt() -> None:
    assert LOCK.wait_s(4, lambda: 0.999) is not None
    assert LOCK.wait_s(5, lambda: 0.999) is None


@given(st.integers(1, 2000), st.floats(0, 0.999999))
def test_wait_is_between_zero_and_its_bound_after_any_number_of_failures(
    failures: int, draw: float
) -> None:
    endless = Backoff(attempts_count=10_000, delay_s=0.1, factor=2.0, max_delay_s=1.0)
    wait_s = endless.wait_s(failures, lambda: draw)
    assert wait_s is not None
    assert 0 <= wait_s <= 1.0
    assert wait_s <= endless.bound_s(failures)
