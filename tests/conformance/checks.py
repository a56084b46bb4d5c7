"""Compare the responses with the expected ones."""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from tests.conformance.reader import Malformed, Reader, Response, Silent
from tests.conformance.site import FILES
from tests.conformance.table import (
    CLOSED,
    EITHER,
    OPEN,
    After,
    BodyCheck,
    Expected,
    HeaderCheck,
    Outcome,
    TagOf,
    fill_tags,
    get,
)

PROBE = get("/probe.txt").data
"""Sent last: does the connection still work, and did nothing unexpected come before?"""
_PROBE_BODY = FILES["probe.txt"]


@dataclass(frozen=True, slots=True)
class Observed:
    """An exchange as the client saw it. extra: a description of unexpected data."""

    responses: tuple[Response, ...]
    after: After
    extra: str = ""


def observe(
    reader: Reader,
    methods: Sequence[str],
    probe: Callable[[], None] | None,
    on_continue: Callable[[], None] = lambda: None,
) -> Observed:
    """Read the responses to requests with these methods, then see whether the connection closes."""
    responses: list[Response] = []
    try:
        for method in methods:
            response = reader.read_response(method, on_continue)
            if response is None:
                return Observed(tuple(responses), CLOSED)
            responses.append(response)
        return _observe_end(reader, tuple(responses), probe)
    except Silent:
        return Observed(tuple(responses), EITHER)
    except Malformed as error:
        return Observed(tuple(responses), EITHER, str(error))


def _observe_end(
    reader: Reader, responses: tuple[Response, ...], probe: Callable[[], None] | None
) -> Observed:
    if probe is None:
        data = reader.read_to_eof()
        return Observed(responses, CLOSED, repr(data[:80]) if data else "")
    probe()
    response = reader.read_response("GET")
    if response is None:
        return Observed(responses, CLOSED)
    if response.body == _PROBE_BODY:
        return Observed(responses, OPEN)
    return Observed(responses, EITHER, f"an extra response: {response.status}")


def find_errors(outcome: Outcome, observed: Observed, tag_of: TagOf) -> list[str]:
    """Return a description of each error; empty if the row passes."""
    errors: list[str] = []
    responses = observed.responses
    for number, expected in enumerate(outcome.responses, 1):
        if number > len(responses):
            if observed.after not in expected.excused:
                errors.append(f"response {number} never came")
            break
        details = find_response_errors(expected, responses[number - 1], tag_of)
        errors += [f"response {number}: {detail}" for detail in details]
    if observed.extra:
        errors.append(f"unexpected: {observed.extra}")
    if outcome.after is not EITHER and observed.after is not outcome.after and not errors:
        state = "neither open nor closed" if observed.after is EITHER else observed.after
        errors.append(f"the connection is {state} and not {outcome.after}")
    return errors


def find_response_errors(
    expected: Expected, response: Response, tag_of: TagOf, ignored: Collection[str] = ()
) -> list[str]:
    """Return the errors of one response, compared with the closest alternative.

    ignored: headers that do not exist at this level.
    """
    candidates = [_compare(one, response, tag_of, ignored) for one in expected.alternatives()]
    return min(candidates, key=lambda errors: (any("status" in e for e in errors), len(errors)))


def _compare(
    expected: Expected, response: Response, tag_of: TagOf, ignored: Collection[str]
) -> list[str]:
    if response.status not in expected.statuses:
        return [f"status {response.status}, not {format_statuses(expected)}"]
    errors = []
    for name, check in expected.headers.items():
        value = response.get(name)
        if name not in ignored and not _header_matches(check, value, tag_of):
            errors.append(f"{name}: {value!r} with status {response.status}")
    if not _body_matches(expected.body, response):
        errors.append(f"body {response.body[:60]!r} of {len(response.body)} bytes")
    if expected.version and "version" not in ignored and response.version != expected.version:
        errors.append(f"version {response.version}")
    if expected.interim is not None and not expected.interim >= set(response.interim):
        errors.append(f"interim responses {response.interim}")
    return errors


def format_statuses(expected: Expected) -> str:
    """Return the expected statuses as short text."""
    codes = sorted(expected.statuses)
    if len(codes) > 50:
        return f"{codes[0] // 100}xx to {codes[-1] // 100}xx"
    return " or ".join(map(str, codes))


def _header_matches(check: HeaderCheck, value: str | None, tag_of: TagOf) -> bool:
    if check is None or value is None:
        return check is value
    if isinstance(check, str):
        return fill_tags(check.encode("latin-1"), tag_of).decode("latin-1") == value
    if isinstance(check, re.Pattern):
        return check.fullmatch(value) is not None
    return check(value)


def _body_matches(check: BodyCheck, response: Response) -> bool:
    if check is ...:
        return True
    return response.body == check if isinstance(check, bytes) else check(response)
