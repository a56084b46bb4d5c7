"""The nodes of a run over several machines: what each did, and what became of it."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Annotated

from abench.stats.counts import Rule
from abench.stats.figure import Figure
from abench.stats.units import duration, plural

_MAX_NAMED = 3  # more nodes that share a fate are given as a number


@dataclass(slots=True)
class Node:
    """The share of one node, as far as it was reported."""

    name: Annotated[str, Figure("Node", "Its address in the cluster, host:port.")]
    connections: Annotated[
        int,
        Figure("Connections", "Connections that it had open before the start.", "connections"),
    ] = 0
    succeeded: Annotated[
        int, Figure("Succeeded", "Requests of this node that succeeded.", "requests")
    ] = 0
    failed: Annotated[int, Figure("Failed", "Requests of this node that failed.", "requests")] = 0
    start_within_s: Annotated[
        float | None,
        Figure(
            "Started within",
            "Seconds from the order to start until this node reported that it had it. Null if it "
            "never did.",
            "s",
        ),
    ] = None
    messages: Annotated[
        int, Figure("Messages", "Messages that were received from it.", "messages")
    ] = 0
    message_bytes: Annotated[
        int, Figure("Bytes of messages", "Bytes of these messages, without those of dask.", "bytes")
    ] = 0
    lost: Annotated[
        str | None,
        Figure(
            "Lost",
            "Why the rest of its share is missing, such as `left the cluster`. Null if it is not.",
        ),
    ] = None
    last_report_s: Annotated[
        float | None,
        Figure(
            "Last report",
            "Seconds after counting began when a lost node was last heard of. Null for other "
            "nodes, and if that was before.",
            "s",
        ),
    ] = None


NODES = Rule(
    lambda one, other: sorted(one + other, key=repr),
    lambda nodes: list(map(asdict, nodes)),
    lambda plain: [Node(**one) for one in plain],
)


def describe_nodes(nodes: Iterable[Node]) -> str:
    """Say how many nodes there were, and how far apart they can have started."""
    started = {node.name: node.start_within_s for node in nodes if node.start_within_s is not None}
    if not started:
        return "none started"
    last = max(started, key=lambda name: started[name] or 0)
    return f"{len(started)} started within {duration(started[last] or 0)}, {last} last"


def describe_losses(nodes: Iterable[Node]) -> Iterator[str]:
    """Say which nodes were lost and why: a line for each cause."""
    causes: dict[str, list[Node]] = {}
    for node in nodes:
        if node.lost:
            causes.setdefault(node.lost, []).append(node)
    for cause, lost in causes.items():
        named = ", ".join(node.name for node in lost)
        who = named if len(lost) <= _MAX_NAMED else plural(len(lost), "node")
        yield f"{who} {cause}{_consequence(lost)}"


def _consequence(lost: Iterable[Node]) -> str:
    times = [node.last_report_s for node in lost if node.last_report_s is not None]
    if not times:
        return " before the start: that part of the load is missing."
    after = duration(max(times))
    return f", last heard of after {after}: only what had been reported is counted."
