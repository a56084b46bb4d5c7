"""Medians, ratios, and whether a goal is met."""

import pytest

from benchmarks.figures import Goal, medians, shown

ROUNDS = {
    "aserve": {"us": [9.0, 7.0, 8.0], "rate": [100.0, 120.0, 110.0]},
    "nginx": {"us": [10.0, 8.0, 12.0], "rate": [90.0, 100.0, 95.0]},
    "h2o": {"us": [16.0]},
}


def test_the_median_of_the_rounds_counts() -> None:
    assert medians(ROUNDS, "us") == {"aserve": 8, "nginx": 10, "h2o": 16}
    assert medians(ROUNDS, "rate") == {"aserve": 110, "nginx": 95}


@pytest.mark.parametrize(("times", "met"), [(0.79, False), (0.80, True), (0.81, True)])
def test_a_cost_is_to_be_at_most_so_many_times_the_cheapest(times: float, met: bool) -> None:
    verdict = Goal(times, ("h2o", "nginx")).judge(ROUNDS)
    assert (verdict.ratio, verdict.peer, verdict.met) == (0.8, "nginx", met)


@pytest.mark.parametrize(("times", "met"), [(1.15, True), (1.16, True), (1.17, False)])
def test_a_rate_is_to_be_at_least_so_many_times_the_highest(times: float, met: bool) -> None:
    assert Goal(times, ("nginx",), "rate").judge(ROUNDS).met is met


@pytest.mark.parametrize(("times", "met"), [(110, True), (111, False)])
def test_a_goal_without_peers_is_for_the_figure_itself(times: float, met: bool) -> None:
    goal = Goal(times, (), "rate")
    assert str(goal) == f"requests/s ≥ {times}.00"
    assert (str(goal.judge(ROUNDS)), goal.judge(ROUNDS).met) == ("110.00", met)
    assert Goal(1, (), "rate", of="caddy").judge(ROUNDS) is None


def test_nothing_is_judged_that_was_not_measured() -> None:
    assert Goal(1, ("lighttpd",)).judge(ROUNDS) is None
    assert Goal(1, ("nginx",), of="aserve log").judge(ROUNDS) is None


def test_peers_that_were_not_measured_do_not_stop_a_verdict() -> None:
    assert Goal(1, ("nginx", "lighttpd")).judge(ROUNDS).peer == "nginx"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.01234, "0.0123"), (7.126, "7.13"), (71.26, "71.3"), (712.6, "713"),
     (71_263.4, "71,263")],
)  # fmt: skip
def test_three_digits_count(value: float, text: str) -> None:
    assert shown(value) == text
