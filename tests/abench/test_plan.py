import math
import pickle
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abench.errors import ParameterError
from abench.plan.log_entries import LogEntry, RecordedLog
from abench.plan.plan import Plan
from abench.plan.route import Route, TlsOptions
from abench.plan.url_file import WeightedUrl

URL = "http://127.0.0.1:8000/"
LOG = RecordedLog((LogEntry(0.0, "GET", "/"),))


@settings(deadline=None)
@given(
    connections=st.integers(1, 5000),
    requests=st.none() | st.integers(1, 10**9),
    workers=st.integers(1, 100),
)
def test_shares_add_up_and_none_is_empty(
    connections: int, requests: int | None, workers: int
) -> None:
    plan = Plan(url=URL, connections=connections, requests=requests, workers=workers)
    shares = plan.split(plan.processes)
    assert len(shares) == min(workers, connections, requests or workers)
    assert sum(share.connections for share in shares) == connections
    assert all(share.connections >= 1 for share in shares)
    if requests is None:
        assert {share.duration_s for share in shares} == {10.0}
    else:
        assert sum(share.requests or 0 for share in shares) == requests
        assert all(share.requests for share in shares)


def test_a_plan_without_time_and_number_lasts_ten_seconds() -> None:
    assert Plan(url=URL).duration_s == 10
    assert Plan(url=URL, requests=3).duration_s is None


def test_a_plan_of_stages_and_its_copy_last_as_long_as_the_stages() -> None:
    plan = Plan(url=URL, stages="2s@10,ramp:500ms@10-0")
    assert plan.duration_s == 2.5
    assert replace(plan, address="127.0.0.1").duration_s == 2.5


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("--connections", {"connections": 0}),
        ("--requests", {"requests": 0}),
        ("--workers", {"workers": 100_000}),
        ("--workers", {"workers": -1}),
        ("--time", {"duration_s": 0.0}),
        ("--time", {"duration_s": math.nan}),
        ("--timeout", {"timeout_s": math.inf}),
        ("--timeout", {"timeout_s": -1.0}),
        ("--method", {"method": "BR EW"}),
        ("--method", {"method": "CONNECT"}),
        ("--http", {"http": "2"}),
        ("--http09", {"http": "0.9"}),
        ("--http09", {"http": "0.9", "keep_alive": False, "method": "HEAD"}),
        ("--pipeline", {"pipeline": 0}),
        ("--pipeline", {"pipeline": 2, "keep_alive": False}),
        ("--pipeline", {"pipeline": 2, "method": "HEAD"}),
        ("--pipeline", {"pipeline": 2, "method": "POST"}),
        ("--pipeline", {"pipeline": 2, "rate": 1.0}),
        ("--force", {"wait": False}),
        (
            "URL",
            {"urls": (WeightedUrl("http://127.0.0.1:8000/a"), WeightedUrl("http://127.0.0.1/a"))},
        ),
        ("URL", {"tls": TlsOptions(insecure=True)}),
        ("--proxy", {"route": Route(proxy="h")}),
        ("--proxy", {"route": Route(proxy="h:1", unix="/s")}),
        ("--resolve", {"route": Route(resolve="127.0.0.1:8000:x")}),
        ("--resolve", {"route": Route(resolve="other:8000:127.0.0.1")}),
        ("--unix-socket", {"route": Route(unix="/" * 108)}),
        ("--rate", {"rate": 1.0, "replay": LOG}),
        ("--speed", {"speed": 0.0, "replay": LOG}),
        ("--replay", {"method": "HEAD", "replay": LOG}),
        ("--requests", {"requests": 2, "replay": LOG}),
    ],
)
def test_an_impossible_value_names_its_option(option: str, values: dict[str, object]) -> None:
    with pytest.raises(ParameterError) as caught:
        Plan(url=URL, **values)  # type: ignore[arg-type]
    assert caught.value.parameter == option
    assert caught.value.exit_code == 2


def test_a_plan_can_be_pickled() -> None:
    plan = Plan(url=URL, connections=3, keep_alive=False)
    assert pickle.loads(pickle.dumps(plan)) == plan
