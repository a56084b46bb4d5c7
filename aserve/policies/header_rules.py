"""Headers by path: what a site's owner adds to responses, replaces and removes.

A rule costs nothing once a response is cached, since it is cached with its headers. What all
responses have, and nothing else can change, is a header of the site, which costs nothing either.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from aserve.handlers.handler import Note, RequestContext
from aserve.http.header_changes import (
    FindChanges,
    HeaderChange,
    change_error,
    change_headers,
    is_always_added,
    names_of,
)
from aserve.http.messages import Request, Response
from aserve.http.path_globs import GlobError, compile_glob, is_everything
from aserve.http.request_target import decoded_path
from aserve.policies.policy import Policy


class HeaderRule(NamedTuple):
    """A change of the headers of all responses to paths that match a glob."""

    match: str
    change: HeaderChange

    def error(self) -> str:
        """Return why this cannot be a rule, "" if it can."""
        try:
            compile_glob(self.match)
        except GlobError as error:
            return f"{error}, not {self.match!r}"
        return change_error(self.change)


def header_policies(
    rules: Sequence[HeaderRule],
    others: Sequence[HeaderRule] = (),
    *,
    may_be_fixed: bool,
    decode_slashes: bool = False,
) -> Iterator[Policy]:
    """Yield the policies that rules need, at most two.

    others: further ones, which other policies make. may_be_fixed: whether it is known that nothing
    else gives responses headers that ours do not have. decode_slashes: whether %2F in a path
    separates names.
    """
    times = Counter(name for rule in (*rules, *others) for name in names_of(rule.change))
    fixed = [rule for rule in rules if may_be_fixed and _is_header_of_the_site(rule, times)]
    if fixed:
        yield SiteHeaders([rule.change for rule in fixed])
    if rest := [rule for rule in rules if rule not in fixed]:
        yield HeaderRules([find_by_globs(rest)], decode_slashes=decode_slashes)


def _is_header_of_the_site(rule: HeaderRule, times: Mapping[str, int]) -> bool:
    """Tell whether a rule adds headers to all responses that nothing else has or changes.

    times: in how many rules a name is.
    """
    change = rule.change
    if change.append or change.unset or not is_everything(rule.match):
        return False
    return all(times[name] == 1 and is_always_added(name) for name in names_of(change))


def find_by_globs(rules: Sequence[HeaderRule]) -> FindChanges:
    """Return what finds the changes of all rules that match a path."""
    compiled = [
        (compile_glob(rule.match).fullmatch, is_everything(rule.match), rule.change)
        for rule in rules
    ]

    def find(path: bytes) -> Sequence[HeaderChange]:
        return [change for match, is_all, change in compiled if is_all or match(path)]

    return find


class SiteHeaders(Policy):
    """Adds the same headers to every response."""

    def __init__(self, changes: Sequence[HeaderChange]) -> None:
        self.response_headers = tuple(line for change in changes for line in change.set)
        self.notes = tuple(map(note_change, changes))


class HeaderRules(Policy):
    """Changes headers as rules say that match the path of a request.

    A request whose target is invalid has no path: only rules for everything match it.
    """

    def __init__(self, sources: Sequence[FindChanges], *, decode_slashes: bool = False) -> None:
        self._sources = sources
        self._decode_slashes = decode_slashes

    def finish(self, request: Request, context: RequestContext, response: Response) -> Response:
        """Return a response with the headers that its path asks for."""
        path = decoded_path(request.target, decode_slashes=self._decode_slashes)
        changes = [change for find in self._sources for change in find(path)]
        if context.notes is not None:
            context.notes.extend(map(note_change, changes))
        return change_headers(request, response, changes) if changes else response


def note_change(change: HeaderChange) -> Note:
    """Return the note on a change."""
    lines = [f"{name}: {value}" for name, value in (*change.set, *change.append)]
    removed = [f"no {name}" for name in change.unset]
    return Note("header", ", ".join((*lines, *removed)), change.source)
