"""The requests of one process in their order, and what is known of the answer to each."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count, cycle
from typing import Any, TypeAlias, TypeVar

from abench.plan.log_replay import LogEntries
from abench.plan.request import Request, RequestTemplate, TargetTemplate
from abench.plan.rounds import interleave
from abench.plan.success import DEFAULT_CRITERIA, SuccessCriteria
from abench.plan.target import Target
from abench.plan.url_file import Targets

MAX_CACHED = 10_000  # questions that are kept once they were asked
MAX_CACHED_BYTES = 1 << 26  # that their bodies may take


class ExpectedResponse:
    """What a right answer to a request is, and how the last one looked.

    A piece of `length` octets that begins with `head` is a whole reply of status `status`, like
    the last that was read in full; no `length`, -1, is none known. `bodiless` are answers to HEAD.
    """

    __slots__ = (
        "expectation",
        "head",
        "is_head_request",
        "length",
        "status",
    )

    def __init__(self, expectation: SuccessCriteria, *, is_head_request: bool) -> None:
        self.expectation = expectation
        self.is_head_request = is_head_request
        self.head = b""
        self.length = -1
        self.status = 0


NOTHING_EXPECTED = ExpectedResponse(
    DEFAULT_CRITERIA, is_head_request=False
)  # what comes before anything was asked answers nothing


@dataclass(frozen=True, slots=True)
class WorkItem:
    """A request and what is known of its answer."""

    request: Request
    expected: ExpectedResponse


Key = TypeVar("Key", bound=Hashable)
Questions: TypeAlias = Sequence[WorkItem] | Mapping[Key, WorkItem]


class Workload:
    """What one process asks: an endless or a finite sequence of octets and Answers.

    `only` is the one question there is, if its octets are the same each time. Numbers in templates
    are other in each share of a run: this is share `part` of `parts`.
    """

    def __init__(
        self,
        questions: "Questions[Any]",
        order: Iterator[Any],
        part: int,
        parts: int,
    ) -> None:
        one = len(questions) == 1 and questions[0].request.constant is not None
        self.only = questions[0] if one else None
        self._items = questions
        self._order = order
        self._numbers = count(part + 1, parts)

    def __iter__(self) -> "Workload":
        return self

    def __next__(self) -> tuple[bytes, ExpectedResponse]:
        """Return the next request's octets, and what is known of its answer."""
        question = self._items[next(self._order)]
        return question.request.encode(next(self._numbers)), question.expected


class _ItemCache(dict[Key, WorkItem]):
    """Questions, each made when it is first asked: of a million, few are wanted at once.

    When it is full it begins anew, which is as good as any other way for those that are asked in
    turns, and soon has again what is asked often.
    """

    def __init__(self, most: int, make: Callable[[Key], WorkItem]) -> None:
        super().__init__()
        self._most, self._make = most, make

    def __missing__(self, key: Key) -> WorkItem:
        if len(self) >= self._most:
            self.clear()
        self[key] = made = self._make(key)
        return made


def weighted_workload(
    targets: Sequence[tuple[Target, int]],
    message: RequestTemplate,
    expectation: SuccessCriteria,
    part: int = 0,
    parts: int = 1,
) -> Workload:
    """Return the mix that asks for each target as often as its weight says.

    The shares of a run begin at different places, so that they do not ask for the same together.
    """
    order = _weighted_order(targets)
    asked = _ItemFactory(message, expectation)
    questions: Questions[int]
    if isinstance(targets, Targets) and len(targets) > asked.most_kept:
        at = targets.file.at
        questions = _ItemCache(asked.most_kept, lambda index: asked.work_item(*at(index)))
    else:
        questions = [asked.work_item(target, target.resource.encode()) for target, _ in targets]
    begin = len(order) * part // parts
    turns = cycle((order[begin:], order[:begin]))  # a cycle of indices would keep each of them
    return Workload(questions, chain.from_iterable(turns), part, parts)


def _weighted_order(targets: Sequence[tuple[Target, int]]) -> Sequence[int]:
    if isinstance(targets, Targets):
        return targets.file.order
    return interleave([weight for _, weight in targets])


def recorded_workload(  # noqa: PLR0913, PLR0917 - as of weighted, and the server
    entries: LogEntries,
    target: Target,
    message: RequestTemplate,
    expectation: SuccessCriteria,
    part: int = 0,
    parts: int = 1,
) -> Workload:
    """Return the mix that asks the server of `target` what a log says, in its order, once."""
    asked = [
        _ItemFactory(replace(message, method=method), expectation) for method in entries.methods
    ]
    most_kept = min((one.most_kept for one in asked), default=1)
    questions = _ItemCache[tuple[int, bytes]](
        most_kept, lambda key: asked[key[0]].work_item(target, key[1])
    )
    keys = map(entries.key, range(part, len(entries), parts))
    return Workload(questions, keys, part, parts)


class _ItemFactory:
    """What makes the questions of one message, and how many of them there is room for."""

    def __init__(self, message: RequestTemplate, expectation: SuccessCriteria) -> None:
        self.most_kept = max(1, min(MAX_CACHED, MAX_CACHED_BYTES // (len(message.body) + 1)))
        self._bodiless = message.method == "HEAD"
        self._expectation = expectation
        self._message = message
        self._templates: dict[tuple[str, str, int, bytes], TargetTemplate] = {}

    def work_item(self, target: Target, resource: bytes) -> WorkItem:
        """Return the question for a resource of the server of `target`, with its credentials."""
        server = (*target.origin, target.credentials)
        template = self._templates.get(server)
        if template is None:
            template = self._templates[server] = self._message.template(target)
        return WorkItem(
            template.request(resource),
            ExpectedResponse(self._expectation, is_head_request=self._bodiless),
        )
