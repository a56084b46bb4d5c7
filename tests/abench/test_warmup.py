from collections import Counter

from abench.plan.plan import Plan
from abench.run.warmup import MAX_S, WarmUp
from abench.stats.histogram import Histogram
from abench.stats.summary import Summary


def pages(number: int) -> Summary:
    return Summary(service=Histogram.of([1] * number), failures=Counter(reset=1))


def watched(rates: list[int], **plan: object) -> tuple[WarmUp, float]:
    """Report five times a second at one rate for each second; return when it was over."""
    warmup = WarmUp(Plan(url="http://x/", **plan))
    for step in range(5 * len(rates)):
        now_s = (step + 1) / 5
        warmup.add(now_s, pages(rates[step // 5] // 5))
        if warmup.is_finished(now_s):
            break
    return warmup, now_s


def test_a_given_time_is_kept_whatever_comes() -> None:
    warmup, over = watched([10, 500, 20], warmup_s=1.6)
    assert over == 1.6
    assert warmup.requests == 8 * (2 + 1) - 3 * 2 + 3 * 100


def test_a_rate_that_grows_is_waited_for() -> None:
    warmup, over = watched([100, 200, 400, 800, 1_000, 1_000, 1_000], warmup_auto=True)
    assert warmup.steady
    assert 5.8 <= over <= 6  # the last two seconds are alike


def test_one_that_never_settles_is_given_up() -> None:
    warmup, over = watched([round(100 * 1.1**second) for second in range(30)], warmup_auto=True)
    assert not warmup.steady
    assert over == MAX_S


def test_a_server_that_answers_nothing_has_not_settled() -> None:
    warmup, _ = watched([0] * 30, warmup_auto=True)
    assert not warmup.steady
