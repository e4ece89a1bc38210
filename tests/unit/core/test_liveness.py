import pytest

from supervisor.core.policy.liveness import Ages, Liveness, judge

AGES = Ages(interval_s=5.0, stale_after_s=30.0, hung_after_s=120.0)


@pytest.mark.parametrize(
    ("age_s", "stopped", "word"),
    [
        (0.0, False, Liveness.FRESH),
        (10.0, False, Liveness.FRESH),
        (10.1, False, Liveness.LATE),
        (30.0, False, Liveness.LATE),
        (30.1, False, Liveness.UNRESPONSIVE),
        (120.0, False, Liveness.UNRESPONSIVE),
        (120.1, False, Liveness.HUNG),
        (1e9, True, Liveness.UNRESPONSIVE),
    ],
)
def test_liveness_follows_the_age_and_a_stopped_process_is_never_hung(
    age_s: float, stopped: bool, word: Liveness
) -> None:
    assert judge(age_s=age_s, stopped=stopped, ages=AGES) is word
