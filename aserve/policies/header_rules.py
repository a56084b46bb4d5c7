"""Headers by path: what a site's owner adds to responses, replaces and removes.

A rule costs nothing once a response is cached, since it is cached with its headers. What all
responses have, and nothing else can change, is a header of the site, which costs nothing either.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from aserve.handlers.handler import RequestContext
from aserve.http.header_changes import (
    FindChanges,
    HeaderChange,
    change_error,
    change_headers,
    is_always_added,
    names_of,
)
from aserve.http.messages import Headers, Request, Response
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
    defaults: Sequence[HeaderRule],
    rules: Sequence[HeaderRule],
    others: Sequence[FindChanges] = (),
    *,
    decode_slashes: bool = False,
    only_our_handlers: bool = True,
) -> Iterator[Policy]:
    """Yield the policies that rules need, at most two.

    Changes are made in this order: defaults, others, rules. others: find their changes in another
    way. decode_slashes: whether %2F in a path separates names. only_our_handlers: whether all
    handlers are of this package, so that it is known which headers they give to responses.
    """
    every = (*defaults, *rules)
    is_known = only_our_handlers and not others
    fixed = [rule for rule in every if is_known and _is_header_of_the_site(rule, every)]
    if fixed:
        yield SiteHeaders(tuple(line for rule in fixed for line in rule.change.set))
    first = [rule for rule in defaults if rule not in fixed]
    last = [rule for rule in rules if rule not in fixed]
    sources = (*_finders(first), *others, *_finders(last))
    if sources:
        yield HeaderRules(sources, decode_slashes=decode_slashes)


def _finders(rules: Sequence[HeaderRule]) -> Iterator[FindChanges]:
    if rules:
        yield find_by_globs(rules)


def _is_header_of_the_site(rule: HeaderRule, rules: Sequence[HeaderRule]) -> bool:
    """Tell whether a rule adds headers to all responses that nothing else has or changes."""
    change = rule.change
    if change.append or change.unset or not is_everything(rule.match):
        return False
    times = Counter(name for one in rules for name in names_of(one.change))
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

    def __init__(self, headers: Headers) -> None:
        self.response_headers = headers


class HeaderRules(Policy):
    """Changes headers as rules say that match the path of a request.

    A request whose target is invalid has no path: only rules for everything match it.
    """

    def __init__(self, sources: Sequence[FindChanges], *, decode_slashes: bool = False) -> None:
        self._sources = sources
        self._decode_slashes = decode_slashes

    def finish(self, request: Request, context: RequestContext, response: Response) -> Response:  # noqa: ARG002 - Policy
        """Return a response with the headers that its path asks for."""
        path = decoded_path(request.target, decode_slashes=self._decode_slashes)
        changes = [change for find in self._sources for change in find(path)]
        return change_headers(request, response, changes) if changes else response
