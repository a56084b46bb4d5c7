"""What a report says of how connections behaved: the conditions of its figures."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from abench.plan.behavior import PLAIN, Behavior
from abench.plan.plan import Plan
from abench.stats.figure import Figure
from abench.stats.units import byte_size, count, duration


@dataclass(frozen=True, slots=True)
class PlannedBehavior:
    """How each connection behaved, beyond sending requests."""

    think_time_s: Annotated[
        tuple[float, ...] | None,
        Figure(
            "Think time",
            "Seconds of the shortest and the longest pause between a response and the next "
            "request. Null without pauses.",
            "s",
            schema={"minItems": 2, "maxItems": 2},
        ),
    ]
    requests_per_connection: Annotated[
        int | None,
        Figure(
            "Requests per connection",
            "After how many requests a connection was opened anew. Null if it was kept.",
            "requests",
            schema={"minimum": 2},
        ),
    ]
    bandwidth: Annotated[
        int | None,
        Figure(
            "Bandwidth",
            "Bytes per second that each connection sent and received at most. Null without a "
            "limit.",
            "bytes/s",
            schema={"minimum": 1},
        ),
    ]
    follows_redirects: Annotated[
        bool,
        Figure("Follows redirects", "Whether redirects to the same server were followed."),
    ]
    keeps_cookies: Annotated[
        bool, Figure("Keeps cookies", "Whether each connection kept the server's cookies.")
    ]

    @classmethod
    def of(cls, behavior: Behavior) -> "PlannedBehavior | None":
        """Return what a report says of a behavior; None if it is the usual one."""
        if behavior == PLAIN:
            return None
        return cls(
            behavior.think_s,
            behavior.requests_per_connection,
            behavior.bandwidth,
            behavior.follow,
            behavior.cookies,
        )


def planned_behavior(found: PlannedBehavior | None) -> Behavior:
    """Return the behavior that a report describes."""
    if found is None:
        return PLAIN
    return Behavior(
        (found.think_time_s[0], found.think_time_s[1]) if found.think_time_s else None,
        found.requests_per_connection,
        found.bandwidth,
        found.follows_redirects,
        found.keeps_cookies,
    )


def describe_behavior(plan: Plan, followed: int, addresses: dict[str, int]) -> Iterator[str]:
    """Yield what was unusual about the connections of a run, and where they went."""
    behavior = plan.behavior
    if behavior.think_s:
        shortest, longest = (duration(each) for each in behavior.think_s)
        pause = shortest if shortest == longest else f"{shortest} to {longest}"
        yield f"a pause of {pause} after each response"
    if number := behavior.requests_per_connection:
        yield f"{count(number)} requests on each"
    if behavior.bandwidth:
        yield f"at most {byte_size(behavior.bandwidth)}/s on each"
    if behavior.cookies:
        yield "cookies kept"
    if behavior.follow:
        yield f"{count(followed)} redirects followed"
    if plan.route.ip_version:
        yield f"IPv{plan.route.ip_version} only"
    if addresses:
        counted = ", ".join(f"{address} ({count(n)})" for address, n in sorted(addresses.items()))
        yield f"connecting to {counted}"
