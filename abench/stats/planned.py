"""What a report says of its plan: the part of a Plan that a document has."""

from dataclasses import dataclass
from typing import Annotated

from abench.plan.plan import Plan
from abench.plan.route import Route
from abench.plan.schedule import ARRIVALS
from abench.plan.success import SuccessCriteria
from abench.plan.url_file import WeightedUrl
from abench.stats.figure import Figure
from abench.stats.parts import Warmup
from abench.stats.planned_behavior import PlannedBehavior, planned_behavior
from abench.stats.schedule_results import RunSchedule

MAX_URLS = 1_000  # in a document: a file may have a million
_POSITIVE = {"exclusiveMinimum": 0}


@dataclass(frozen=True, slots=True)
class PlannedEnd:
    """How long the run should last; it ends by time or by requests, whichever is first."""

    duration_s: Annotated[
        float | None,
        Figure(
            "Planned duration",
            "Seconds, without warm-up. Null if no duration was asked for.",
            "s",
            schema=_POSITIVE,
        ),
    ]
    requests: Annotated[
        int | None,
        Figure(
            "Planned requests",
            "Number of requests. Null if no number was asked for.",
            "requests",
            schema={"minimum": 1},
        ),
    ]
    warmup_s: Annotated[
        float | None,
        Figure(
            "Planned warm-up",
            "Seconds before counting began. Null without a warm-up, or if it lasted until the "
            "server had settled.",
            "s",
            later=True,
            schema=_POSITIVE,
        ),
    ] = None
    body_bytes: Annotated[
        int, Figure("Request body", "Bytes of each request's body.", "bytes", later=True)
    ] = 0
    expect: Annotated[
        tuple[str, ...],
        Figure(
            "Success",
            "What counts as a success, as `--expect` says it: `201`, `2xx`, `body:TEXT`. Empty: "
            "any status below 400.",
            later=True,
        ),
    ] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The part of a plan that a report shows."""

    url: Annotated[
        str, Figure("URL", "The first URL that was requested, without user name and password.")
    ]
    urls: Annotated[
        tuple[WeightedUrl, ...],
        Figure(
            "URLs",
            "The URLs that were requested, at most the first 1,000.",
            items={
                "url": ("URL", "The URL, without user name and password."),
                "weight": ("Weight", "How often it was requested compared with the others."),
            },
            schema={"minItems": 1},
        ),
    ]
    urls_left_out: Annotated[
        int, Figure("URLs left out", "How many URLs are missing from `urls`.", "URLs", later=True)
    ] = 0
    method: Annotated[str, Figure("Method", "The request method, such as GET.")]
    http: Annotated[
        str,
        Figure(
            "HTTP version",
            "The version of HTTP of the requests.",
            schema={"enum": ["0.9", "1.0", "1.1"]},
        ),
    ]
    keep_alive: Annotated[
        bool,
        Figure(
            "Keep-alive", "Whether connections were reused; false: a connection for each request."
        ),
    ]
    pipeline: Annotated[
        int,
        Figure(
            "Pipeline depth",
            "Requests in flight on each connection at most. 1: no pipelining.",
            "requests",
            schema={"minimum": 1},
        ),
    ]
    workers: Annotated[
        int,
        Figure(
            "Workers",
            "Worker processes of abench that sent requests.",
            "processes",
            schema={"minimum": 1},
        ),
    ]
    connections: Annotated[
        int,
        Figure(
            "Connections",
            "Concurrent connections that were asked for, of all workers together.",
            "connections",
            schema={"minimum": 1},
        ),
    ]
    timeout_s: Annotated[
        float,
        Figure(
            "Timeout",
            "Seconds that a connection or a response was waited for.",
            "s",
            schema=_POSITIVE,
        ),
    ]
    behavior: Annotated[
        PlannedBehavior | None,
        Figure(
            "Behavior",
            "How each connection behaved beyond sending requests. Null if it sent the next request "
            "at once.",
            later=True,
        ),
    ] = None
    ip_version: Annotated[
        int | None,
        Figure(
            "IP version",
            "The only version of IP that was used, as asked for. Null without such a limit.",
            later=True,
            schema={"enum": [4, 6, None]},
        ),
    ] = None
    planned: Annotated[
        PlannedEnd,
        Figure(
            "Plan",
            "What was asked for. The run ends by `duration_s` or by `requests`, whichever is "
            "reached first.",
            later=True,
        ),
    ] = PlannedEnd(None, None)

    @classmethod
    def of(cls, plan: Plan, body_bytes: int, urls_left_out: int) -> "Planned":
        """Return what a report shows of `plan`."""
        urls = tuple(WeightedUrl(target.url, weight) for target, weight in plan.targets[:MAX_URLS])
        end = PlannedEnd(
            plan.duration_s, plan.requests, plan.warmup_s or None, body_bytes, plan.expect.words()
        )
        return cls(
            url=plan.target.url,
            urls=urls,
            urls_left_out=max(0, len(plan.targets) - MAX_URLS) + urls_left_out,
            method=plan.method,
            http=plan.http,
            keep_alive=plan.keep_alive,
            pipeline=plan.pipeline,
            workers=plan.processes,
            connections=plan.connections,
            timeout_s=plan.timeout_s,
            behavior=PlannedBehavior.of(plan.behavior),
            ip_version=plan.route.ip_version,
            planned=end,
        )

    def plan(self, schedule: RunSchedule | None, warmup: Warmup | None) -> Plan:
        """Return the plan again, as far as a report shows it."""
        return Plan(
            url=self.url,
            urls=self.urls,
            method=self.method,
            http=self.http,
            keep_alive=self.keep_alive,
            pipeline=self.pipeline,
            workers=self.workers,
            connections=self.connections,
            timeout_s=self.timeout_s,
            duration_s=self.planned.duration_s,
            requests=self.planned.requests,
            warmup_s=self.planned.warmup_s or 0.0,
            warmup_auto=warmup is not None and warmup.steady is not None,
            rate=schedule.requested if schedule else None,
            arrivals=schedule.arrivals if schedule else ARRIVALS[0],
            stages=schedule.stages if schedule else None,
            expect=SuccessCriteria.parse(self.planned.expect),
            behavior=planned_behavior(self.behavior),
            route=Route(ip_version=self.ip_version),
        )
