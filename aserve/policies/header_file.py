"""The headers that the _headers of a site gives to its responses."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from aserve.cache.keys import KeyedOn
from aserve.handlers.handler import RequestContext
from aserve.handlers.redirects import RulesSource, requested_path
from aserve.http.header_changes import HeaderChange, change_headers, without_names
from aserve.http.messages import Header, Headers, HttpError, Request, Response
from aserve.policies.header_rules import note_change
from aserve.policies.policy import Policy
from aserve.rules.conditions import requested_host
from aserve.rules.dialects import Dialect
from aserve.rules.headers_file import HeaderBlock, HostPattern
from aserve.rules.matcher import Match
from aserve.rules.targets import substitute


class HeaderFile(Policy):
    """Changes headers as the blocks of _headers say that match the path of a request.

    Where hosts decide from the start, cached responses are found by them. Where a changed file
    brings in the first host, those that it decides about are not cached. fixed: names in lower case
    of headers that all responses have, whatever the file says.
    """

    def __init__(
        self,
        source: RulesSource,
        *,
        decode_slashes: bool = False,
        fixed: Collection[str] = (),
    ) -> None:
        self._source = source
        self._fixed = fixed
        self._decode_slashes = decode_slashes
        if source.latest.has_hosts:
            self.keyed_on = KeyedOn(headers=frozenset({"host"}))

    def finish(self, request: Request, context: RequestContext, response: Response) -> Response:
        """Return the response with the headers of all blocks, in their order."""
        rules = self._source.latest
        if not rules.headers:
            return response
        try:
            path = requested_path(request.target, decode_slashes=self._decode_slashes)
        except HttpError:
            return response
        matches = rules.headers.find(path)
        if not matches:
            return response
        if not self.keyed_on.headers and any(match.rule.host for match in matches):
            response = response._replace(path=b"")
        found = find_changes(matches, requested_host(request), rules.dialect)
        changes = [without_names(change, self._fixed) for change in found]
        if context.notes is not None:
            context.notes.extend(map(note_change, changes))
        return change_headers(request, response, changes)


def find_changes(
    matches: Sequence[Match[HeaderBlock]], host: str, dialect: Dialect
) -> Sequence[HeaderChange]:
    """Return the changes that blocks make for a host, as their dialect says."""
    changes: list[HeaderChange] = []
    names: set[str] = set()
    for match in matches:
        values = _host_values(match.rule.host, host)
        if values is None:
            continue
        change = match.rule.change
        lines = change.set
        if dialect.fills_headers and (match.values or values):
            lines = tuple(_fill(lines, {**match.values, **values}))
        further = tuple(line for line in lines if dialect.appends and line[0].lower() in names)
        first = tuple(line for line in lines if line not in further)
        changes.append(change._replace(set=first, append=further))
        names.update(name.lower() for name, _ in lines)
    return changes


def _host_values(pattern: HostPattern | None, host: str) -> Mapping[str, str] | None:
    """Return what the placeholders of a host stand for; None if a block is for another host."""
    return {} if pattern is None else pattern.match(host)


def _fill(lines: Headers, values: Mapping[str, str]) -> Iterator[Header]:
    """Yield header lines with what their placeholders stand for."""
    for name, value in lines:
        yield name, substitute(value, values, escaped=",;")
