"""The JSON documents of real runs of every kind, and of a built one: not a byte may change.

The files in documents/ were written by runs before figures were declared; `early` is a document
without the keys that were added later.
"""

import io
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from abench.plan.plan import Plan
from abench.report import document
from abench.stats.coverage import Coverage
from abench.stats.difference import BY_NOTHING, BaselineComparison, Difference
from abench.stats.environment import Environment
from abench.stats.histogram import Histogram
from abench.stats.intervals import Interval, PackedIntervals
from abench.stats.nodes import Node
from abench.stats.parts import Threshold
from abench.stats.results import build_results
from abench.stats.samples import REDIRECT, Sample
from abench.stats.stages import StageStats
from abench.stats.summary import ResourceUsage, Summary
from abench.stats.time_series import TimeSeries
from abench.system.procfs import TcpCounters

DOCUMENTS = Path(__file__).parent / "documents"
KINDS = sorted(path.stem for path in DOCUMENTS.glob("*.json"))
SECOND = 1_000_000_000
URL = "http://127.0.0.1:8000/a"


def written(report):
    stream = io.StringIO()
    document.write_json(report, stream)
    return stream.getvalue()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "early"])
def test_document_is_written_as_it_was_read(kind):
    path = DOCUMENTS / f"{kind}.json"
    assert written(document.read_report(path)) == path.read_text()


def test_early_document_is_read():
    early, today = (
        document.read_report(DOCUMENTS / f"{name}.json") for name in ("early", "stages")
    )
    assert (early.succeeded, early.service, early.schedule.offered) == (
        today.succeeded, today.service, today.schedule.offered,
    )  # fmt: skip
    assert (early.stages, early.silence, early.samples, early.redirect) == ((), None, (), None)
    assert (early.retried, early.paused, early.waiting.count, early.start_within_s) == (0, 0, 0, 0)
    assert len(today.stages) == 2
    assert early.plan.requests is None
    assert document.from_document(document.to_document(early)) == early


def everything():
    """Return a report in which every figure has a value of its own."""
    quick = Histogram.of([100] * 900 + [2_000] * 90)
    slow = Histogram.of([200] * 900 + [90_000] * 90)
    intervals = {0: Interval(900, 0, 90_000, quick, slow), 2: Interval(90, 7, 9_000, quick, slow)}
    summary = Summary(
        service=quick,
        response=slow,
        waits=Histogram.of([3_000_000]),
        due_waits=Histogram.of([4_000_000]),
        series=TimeSeries(1, PackedIntervals(intervals)),
        costs=[ResourceUsage(SECOND, 2 * SECOND, 30_000_000, Histogram.of([70, 1_500]))],
        stages={0: StageStats(100, 7, 3, 1, quick, slow), 1: StageStats(899, 5, 2, 2, quick, slow)},
        answering=Coverage(spans=[(0, 700), (900, 2_500)]),
        status=Counter({404: 5, 200: 890, 302: 100}),
        failures=Counter({"status": 5, "reset": 2}),
        reasons=Counter({"ECONNREFUSED": 3}),
        samples=[
            Sample(0, REDIRECT, "302", "/b"),
            Sample(2_400, "status", "404", "HTTP/1.1 404 Not Found"),
            Sample(2_500_000, "reset", "", "the connection was reset"),
        ],
        bytes_received=99_000,
        open_connections=9,
        unfinished=3,
        retried=4,
        started=1_000,
        late=12,
        skipped=5,
        paused_ns=SECOND,
        elapsed_ns=5 * SECOND // 2,
        start_within_ns=30_000_000,
        lost=1,
        gave_up=1,
        stopped_by=15,
        faults=["KeyError: 'x'"],
        nodes=[
            Node("10.0.0.2:4000", 5, 890, 4, 0.03, 13, 40_000),
            Node("10.0.0.3:4000", 4, 100, 3, None, 2, 900, "left the cluster", 0.4),
        ],
    )
    plan = Plan(url=URL, stages="1s@100,ramp:1500ms@100-1k", method="POST", body=b"1=2", workers=2)
    return replace(
        build_results(plan, summary),
        is_local=True,
        shares_cores=False,
        kernel=TcpCounters(10_000, 3, 1, 2, 17),
        environment=Environment(
            ("abench", URL), "2026-01-01T00:00:00+00:00", {"abench": "1"}, {"cores": 2}, "abc1234"
        ),
        thresholds=(Threshold("p99>1ms", failed=True, measured="90.0 ms"),),
        baseline=BaselineComparison(
            URL,
            "2025-12-31T00:00:00+00:00",
            3,
            {"workers": ("1", "2")},
            (
                Difference("pages/sec", 420.0, 396.0, -5.714, -8.0, -3.5, True),
                Difference("p50", 90.0, 100.0, 11.11, None, None, False, BY_NOTHING),
            ),
        ),
    )


def test_built_document_is_the_golden_one():
    assert written(everything()) == (DOCUMENTS / "built/everything.json").read_text()


def test_warmed_up_document_is_the_golden_one():
    plan = Plan(url=URL, warmup_auto=True, workers=2)
    summary = Summary(warmup_ns=SECOND, warmup_requests=77, steady=True, elapsed_ns=SECOND)
    assert written(build_results(plan, summary)) == (DOCUMENTS / "built/warmed.json").read_text()
