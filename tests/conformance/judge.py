"""Hold what happened against what was expected."""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from tests.conformance.reader import Malformed, Reader, Reply, Silent
from tests.conformance.site import FILES
from tests.conformance.table import (
    CLOSED,
    EITHER,
    OPEN,
    After,
    BodyCheck,
    Expected,
    FieldCheck,
    Outcome,
    TagOf,
    fill,
    get,
)

PROBE = get("/probe.txt").octets
"""Asked when all is said: does the connection still work, and did nothing else come before?"""
_PROBED = FILES["probe.txt"]


@dataclass(frozen=True, slots=True)
class Happened:
    """A conversation as the client saw it. extra: what came that nobody had asked for."""

    replies: tuple[Reply, ...]
    after: After
    extra: str = ""


def listen(
    reader: Reader,
    methods: Sequence[str],
    probe: Callable[[], None] | None,
    on_continue: Callable[[], None] = lambda: None,
) -> Happened:
    """Read the replies to requests of these methods, then see what becomes of the connection."""
    replies: list[Reply] = []
    try:
        for method in methods:
            found = reader.read_reply(method, on_continue)
            if found is None:
                return Happened(tuple(replies), CLOSED)
            replies.append(found)
        return _see(reader, tuple(replies), probe)
    except Silent:
        return Happened(tuple(replies), EITHER)
    except Malformed as error:
        return Happened(tuple(replies), EITHER, str(error))


def _see(reader: Reader, replies: tuple[Reply, ...], probe: Callable[[], None] | None) -> Happened:
    if probe is None:
        rest = reader.rest()
        return Happened(replies, CLOSED, repr(rest[:80]) if rest else "")
    probe()
    found = reader.read_reply("GET")
    if found is None:
        return Happened(replies, CLOSED)
    if found.body == _PROBED:
        return Happened(replies, OPEN)
    return Happened(replies, EITHER, f"a reply too many: {found.status}")


def faults(outcome: Outcome, happened: Happened, tag_of: TagOf) -> list[str]:
    """Return what is wrong, in words; nothing where the row holds."""
    found: list[str] = []
    replies = happened.replies
    for number, expected in enumerate(outcome.replies, 1):
        if number > len(replies):
            if happened.after not in expected.excused:
                found.append(f"reply {number} never came")
            break
        wrong = reply_faults(expected, replies[number - 1], tag_of)
        found += [f"reply {number}: {one}" for one in wrong]
    if happened.extra:
        found.append(f"unexpected: {happened.extra}")
    if outcome.after is not EITHER and happened.after is not outcome.after and not found:
        state = "neither open nor closed" if happened.after is EITHER else happened.after
        found.append(f"the connection is {state} and not {outcome.after}")
    return found


def reply_faults(
    expected: Expected, reply: Reply, tag_of: TagOf, unseen: Collection[str] = ()
) -> list[str]:
    """Return what is wrong with one reply, by the alternative that comes closest.

    unseen: fields that cannot be known at this level.
    """
    wrongs = [_faults(one, reply, tag_of, unseen) for one in expected.alternatives()]
    return min(wrongs, key=lambda wrong: (any("status" in one for one in wrong), len(wrong)))


def _faults(expected: Expected, reply: Reply, tag_of: TagOf, unseen: Collection[str]) -> list[str]:
    if reply.status not in expected.statuses:
        return [f"status {reply.status}, not {statuses(expected)}"]
    found = []
    for name, check in expected.fields.items():
        value = reply.get(name)
        if name not in unseen and not _field_holds(check, value, tag_of):
            found.append(f"{name}: {value!r} with status {reply.status}")
    if not _body_holds(expected.body, reply):
        found.append(f"body {reply.body[:60]!r} of {len(reply.body)} octets")
    if expected.version and "version" not in unseen and reply.version != expected.version:
        found.append(f"version {reply.version}")
    if expected.interim is not None and not expected.interim >= set(reply.interim):
        found.append(f"interim replies {reply.interim}")
    return found


def statuses(expected: Expected) -> str:
    """Name the statuses of an expectation in a few words."""
    codes = sorted(expected.statuses)
    if len(codes) > 50:
        return f"{codes[0] // 100}xx to {codes[-1] // 100}xx"
    return " or ".join(map(str, codes))


def _field_holds(check: FieldCheck, value: str | None, tag_of: TagOf) -> bool:
    if check is None or value is None:
        return check is value
    if isinstance(check, str):
        return fill(check.encode("latin-1"), tag_of).decode("latin-1") == value
    if isinstance(check, re.Pattern):
        return check.fullmatch(value) is not None
    return check(value)


def _body_holds(check: BodyCheck, reply: Reply) -> bool:
    if check is ...:
        return True
    return reply.body == check if isinstance(check, bytes) else check(reply)
