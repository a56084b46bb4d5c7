"""The requests of one process in their order, and the response expected for each."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, count, cycle
from typing import Any, NamedTuple, TypeAlias, TypeVar

from abench.plan.interleave import interleave
from abench.plan.log_entries import LogEntries
from abench.plan.request import Request, RequestTemplate, TargetTemplate
from abench.plan.success import DEFAULT_CRITERIA, SuccessCriteria
from abench.plan.target import Target
from abench.plan.url_file import Targets

MAX_CACHED = 10_000  # work items that are cached once they were used
MAX_CACHED_BYTES = 1 << 26  # bytes that their bodies may take


class ExpectedResponse:
    """The criteria for the response to a request, and what the last one looked like.

    A read of `length` bytes that starts with `head` is a complete response with status `status`,
    like the last one that was parsed; -1 means that none was parsed. `is_head_request` tells that
    the response has no body. `group` is the number of the group in which the request counts, and
    `request_size` the length of its bytes, 0 if they differ each time.
    """

    __slots__ = (
        "expectation",
        "group",
        "head",
        "is_head_request",
        "length",
        "request_size",
        "status",
    )

    def __init__(
        self,
        expectation: SuccessCriteria,
        *,
        is_head_request: bool,
        group: int = 0,
        request_size: int = 0,
    ) -> None:
        self.expectation = expectation
        self.group = group
        self.request_size = request_size
        self.is_head_request = is_head_request
        self.head = b""
        self.length = -1
        self.status = 0


# For bytes that are received before any request was sent.
NOTHING_EXPECTED = ExpectedResponse(DEFAULT_CRITERIA, is_head_request=False)


class WorkItem(NamedTuple):
    """A request and its expected response."""

    request: Request
    expected: ExpectedResponse


Key = TypeVar("Key", bound=Hashable)
GroupNumber: TypeAlias = Callable[[Any], int]
"""Returns the group in which a request counts, by its key."""
WorkItems: TypeAlias = Sequence[WorkItem] | Mapping[Key, WorkItem]


class Workload:
    """The requests of one process: a finite or endless iterator of (bytes, ExpectedResponse).

    `only` is the single work item, if there is one and its bytes are the same each time. Numbers in
    templates differ between the shares of a run: this is share `part` of `parts`.
    """

    def __init__(
        self,
        items: "WorkItems[Any]",
        order: Iterator[Any],
        part: int,
        parts: int,
    ) -> None:
        is_constant = len(items) == 1 and items[0].request.constant is not None
        self.only = items[0] if is_constant else None
        self._items = items
        self._order = order
        self._numbers = count(part + 1, parts)

    def __iter__(self) -> "Workload":
        return self

    def __next__(self) -> tuple[bytes, ExpectedResponse]:
        """Return the bytes of the next request, and its expected response."""
        item = self._items[next(self._order)]
        return item.request.encode(next(self._numbers)), item.expected


class _ItemCache(dict[Key, WorkItem]):
    """Work items, each made on first use: of a million, few are needed at once.

    When the cache is full it is cleared. For items that are used in turns this is as good as any
    other policy, and items that are used often are soon cached again.
    """

    def __init__(self, max_items: int, make: Callable[[Key], WorkItem]) -> None:
        super().__init__()
        self._max_items, self._make = max_items, make

    def __missing__(self, key: Key) -> WorkItem:
        if len(self) >= self._max_items:
            self.clear()
        self[key] = item = self._make(key)
        return item


def weighted_workload(  # noqa: PLR0913, PLR0917 - what is requested, by which share of a run
    targets: Sequence[tuple[Target, int]],
    template: RequestTemplate,
    expectation: SuccessCriteria,
    part: int = 0,
    parts: int = 1,
    group: GroupNumber = lambda _: 0,
) -> Workload:
    """Return the workload that requests each target as often as its weight says.

    The shares of a run start at different places, so that they do not request the same at once.
    """
    order = _weighted_order(targets)
    factory = _ItemFactory(template, expectation)
    items: WorkItems[int]
    if isinstance(targets, Targets) and len(targets) > factory.max_items:
        at = targets.file.at
        items = _ItemCache(factory.max_items, lambda i: factory.work_item(*at(i), group(i)))
    else:
        items = [
            factory.work_item(target, target.resource.encode(), group(index))
            for index, (target, _) in enumerate(targets)
        ]
    start = len(order) * part // parts
    rounds = cycle((order[start:], order[:start]))  # a cycle of indices would store each of them
    return Workload(items, chain.from_iterable(rounds), part, parts)


def _weighted_order(targets: Sequence[tuple[Target, int]]) -> Sequence[int]:
    if isinstance(targets, Targets):
        return targets.file.order
    return interleave([weight for _, weight in targets])


def recorded_workload(  # noqa: PLR0913, PLR0917 - those of weighted_workload, and the server
    entries: LogEntries,
    target: Target,
    template: RequestTemplate,
    expectation: SuccessCriteria,
    part: int = 0,
    parts: int = 1,
    group: GroupNumber = lambda _: 0,
) -> Workload:
    """Return the workload that sends the requests of a log to the server of `target`, once."""
    factories = [
        _ItemFactory(replace(template, method=method), expectation) for method in entries.methods
    ]
    max_items = min((factory.max_items for factory in factories), default=1)
    items = _ItemCache[tuple[int, bytes]](
        max_items, lambda key: factories[key[0]].work_item(target, key[1], group(key))
    )
    keys = map(entries.key, range(part, len(entries), parts))
    return Workload(items, keys, part, parts)


class _ItemFactory:
    """Makes the work items of one request template; `max_items` is how many may be cached."""

    def __init__(self, template: RequestTemplate, expectation: SuccessCriteria) -> None:
        self.max_items = max(1, min(MAX_CACHED, MAX_CACHED_BYTES // (len(template.body) + 1)))
        self._is_head_request = template.method == "HEAD"
        self._expectation = expectation
        self._template = template
        self._prepared: dict[tuple[str, str, int, bytes], TargetTemplate] = {}

    def work_item(self, target: Target, resource: bytes, group: int) -> WorkItem:
        """Return the work item for a resource of the server of `target`, with its credentials."""
        server = (*target.origin, target.credentials)
        prepared = self._prepared.get(server)
        if prepared is None:
            prepared = self._prepared[server] = self._template.template(target)
        request = prepared.request(resource)
        expected = ExpectedResponse(
            self._expectation,
            is_head_request=self._is_head_request,
            group=group,
            request_size=len(request.constant or b""),
        )
        return WorkItem(request, expected)
