from collections import Counter

from abench.plan.plan import Plan
from abench.runner.warmup import MAX_S, WarmUp
from abench.stats.histogram import Histogram
from abench.stats.summary import Summary


def pages(number: int) -> Summary:
    return Summary(service=Histogram.of([1] * number), failures=Counter(reset=1))


def run_warmup(rates: list[int], **plan: object) -> tuple[WarmUp, float]:
    """Report five times a second at one rate for each second; return when it was finished."""
    warmup = WarmUp(Plan(url="http://x/", **plan))
    for step in range(5 * len(rates)):
        now_s = (step + 1) / 5
        warmup.add(now_s, pages(rates[step // 5] // 5))
        if warmup.is_finished(now_s):
            break
    return warmup, now_s


def test_a_given_time_does_not_depend_on_the_rate() -> None:
    warmup, ended_at = run_warmup([10, 500, 20], warmup_s=1.6)
    assert ended_at == 1.6
    assert warmup.requests == 8 * (2 + 1) - 3 * 2 + 3 * 100


def test_a_growing_rate_is_waited_for() -> None:
    warmup, ended_at = run_warmup([100, 200, 400, 800, 1_000, 1_000, 1_000], warmup_auto=True)
    assert warmup.steady
    assert 5.8 <= ended_at <= 6  # the last two seconds are alike


def test_a_rate_that_never_settles_is_limited_in_time() -> None:
    warmup, ended_at = run_warmup(
        [round(100 * 1.1**second) for second in range(30)], warmup_auto=True
    )
    assert not warmup.steady
    assert ended_at == MAX_S


def test_a_server_without_responses_is_not_steady() -> None:
    warmup, _ = run_warmup([0] * 30, warmup_auto=True)
    assert not warmup.steady
