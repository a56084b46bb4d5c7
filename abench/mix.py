"""The requests of one process in their order, and what is known of the answer to each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, cycle
from math import gcd

from abench.errors import ParameterError
from abench.expectation import USUAL, Expectation
from abench.message import Message, Request
from abench.target import Target

LONGEST_ROUND = 1_000_000


class Answer:
    """What a right answer to a request is, and how the last one looked.

    A piece of `length` octets that begins with `head` is a whole reply of status `status`, like
    the last that was read in full; no `length`, -1, is none known. `bodiless` are answers to HEAD.
    """

    __slots__ = ("bodiless", "expectation", "head", "length", "status")

    def __init__(self, expectation: Expectation, *, bodiless: bool) -> None:
        self.expectation = expectation
        self.bodiless = bodiless
        self.head = b""
        self.length = -1
        self.status = 0


UNASKED = Answer(USUAL, bodiless=False)  # what comes before anything was asked answers nothing


@dataclass(frozen=True, slots=True)
class Question:
    """A request and what is known of its answer."""

    request: Request
    answer: Answer


class Mix:
    """What one process asks: an endless or a finite sequence of octets and Answers.

    `only` is the one question there is, if its octets are the same each time. Numbers in templates
    are other in each share of a run: this is share `part` of `parts`.
    """

    def __init__(
        self, questions: Sequence[Question], order: Iterator[int], part: int, parts: int
    ) -> None:
        one = len(questions) == 1 and questions[0].request.constant is not None
        self.only = questions[0] if one else None
        self._questions = questions
        self._order = order
        self._numbers = count(part + 1, parts)

    def __iter__(self) -> "Mix":
        return self

    def __next__(self) -> tuple[bytes, Answer]:
        """Return the next request's octets, and what is known of its answer."""
        question = self._questions[next(self._order)]
        return question.request.octets(next(self._numbers)), question.answer


def weighted(
    targets: Sequence[tuple[Target, int]],
    message: Message,
    expectation: Expectation,
    part: int = 0,
    parts: int = 1,
) -> Mix:
    """Return the mix that asks for each target as often as its weight says.

    The shares of a run begin at different places, so that they do not ask for the same together.
    """
    questions = [_question(target, message, expectation) for target, _ in targets]
    order = interleaved([weight for _, weight in targets])
    begin = len(order) * part // parts
    return Mix(questions, cycle(order[begin:] + order[:begin]), part, parts)


def recorded(
    asked: Sequence[tuple[str, Target]],
    message: Message,
    expectation: Expectation,
    part: int = 0,
    parts: int = 1,
) -> Mix:
    """Return the mix that asks methods and targets in the order in which they are given, once."""
    numbers: dict[tuple[str, Target], int] = {}
    order = [numbers.setdefault(one, len(numbers)) for one in asked[part::parts]]
    questions = [
        _question(target, replace(message, method=method), expectation)
        for method, target in numbers
    ]
    return Mix(questions, iter(order), part, parts)


def _question(target: Target, message: Message, expectation: Expectation) -> Question:
    answer = Answer(expectation, bodiless=message.method == "HEAD")
    return Question(message.prepare(target), answer)


def interleaved(weights: Sequence[int]) -> list[int]:
    """Return one round of indices in which each comes as often as its weight, evenly spread.

    Each has its k-th turn in the middle of the k-th of `weight` equal parts of the round.
    """
    divisor = gcd(*weights)
    if sum(weights) // divisor > LONGEST_ROUND:
        raise ParameterError("--urls", f"the weights add up to more than {LONGEST_ROUND:,}")
    turns = [
        ((2 * turn + 1) / (2 * (weight // divisor)), index)
        for index, weight in enumerate(weights)
        for turn in range(weight // divisor)
    ]
    return [index for _, index in sorted(turns)]
