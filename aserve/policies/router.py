"""Several sites behind one address: each request is for one of them, by its host or its path.

To a server a router is a site. The sites know nothing of each other; a router can be one of them.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import lru_cache
from types import MappingProxyType
from typing import NoReturn, Self

from aserve.cache.keys import NOTHING_ELSE, KeyedOn
from aserve.handlers.handler import Note, RequestContext
from aserve.http.host_names import HostTable, is_address, normal_host, request_authority
from aserve.http.messages import BodySink, HttpError, Request, Response
from aserve.http.request_target import parse_path
from aserve.policies.site import Site

_MAX_AUTHORITY = 260
"""Characters of a name in DNS with its port, and a few more: what is longer is not remembered."""

SelectByPath = Callable[[bytes], int | None]
"""Returns which site a path belongs to, None for the one of all other paths."""

Notes = Mapping[Site, Note]
NO_NOTES: Notes = MappingProxyType({})


class Router(Site):
    """Passes each request to one of several sites.

    What a cached response is keyed on is what decides between the sites, and all that decides in
    one of them. sites: they share their memory. notes: why a request is for a site.
    """

    own_keys = NOTHING_ELSE
    """What decides between the sites."""

    def __init__(self, sites: Sequence[Site], notes: Notes = NO_NOTES) -> None:
        self._sites = sites
        self._notes = [notes.get(site) for site in sites]
        self.memory = sites[0].memory
        self.keyed_on = KeyedOn.union((self.own_keys, *(site.keyed_on for site in sites)))
        # It is of the process, whichever site tells it.
        self.is_barred = next((site.is_barred for site in sites if site.is_barred), None)
        counting = {site.count_request for site in sites}
        self.count_request = counting.pop() if len(counting) == 1 else self._count_request
        takes_bodies = any(site.accept_body for site in sites)
        self.accept_body = self._accept_body if takes_bodies else None

    def select(self, request: Request) -> int:
        """Return which site a request is for, also one whose error is set."""
        raise NotImplementedError

    def without_inlined_bodies(self) -> Self:
        """Return the same router between the same sites, but with every body left in its file."""
        router = copy(self)
        router._sites = [site.without_inlined_bodies() for site in self._sites]  # noqa: SLF001
        return router

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Return what the site of a request returns, or raises."""
        index = self.select(request)
        if context.notes is not None and (note := self._notes[index]):
            context.notes.append(note)
        return self._sites[index].handle(request, context)

    def finish(self, request: Request, context: RequestContext, response: Response) -> Response:
        """Return the response of a BodySink with what every response of its site has."""
        return self._sites[self.select(request)].finish(request, context, response)

    def _count_request(self, request: Request, client: str, now: float) -> HttpError | None:
        count_request = self._sites[self.select(request)].count_request
        return count_request(request, client, now) if count_request else None

    def _accept_body(self, request: Request, context: RequestContext) -> BodySink | None:
        accept_body = self._sites[self.select(request)].accept_body
        return accept_body(request, context) if accept_body else None


class HostRouter(Router):
    """Passes each request to the site of its host.

    by_host: sites by hosts in their normal form, which may be wildcards. others: the site of all
    other hosts. allowed: what their names must be among, None for any: a page of another site can
    lead its own name to this address (DNS rebinding), but neither an address nor no host at all.
    misdirected: answers what is left. The host of CONNECT is another server: it is for others.
    """

    own_keys = KeyedOn(headers=frozenset({"host"}))

    def __init__(
        self,
        by_host: Mapping[str, Site],
        others: Site,
        misdirected: Site,
        allowed: HostTable[bool] | None = None,
        notes: Notes = NO_NOTES,
    ) -> None:
        sites = tuple(dict.fromkeys((others, misdirected, *by_host.values())))
        super().__init__(sites, notes)
        self._others, self._misdirected = sites.index(others), sites.index(misdirected)
        self._table = HostTable({host: sites.index(site) for host, site in by_host.items()})
        self._allowed = allowed
        self._remembered = lru_cache(maxsize=512)(self._index_of)

    def select(self, request: Request) -> int:
        """Return which site has a request's host."""
        if request.method == "CONNECT":
            return self._others
        authority = request_authority(request)
        is_short = len(authority) <= _MAX_AUTHORITY
        return (self._remembered if is_short else self._index_of)(authority)

    def _index_of(self, authority: str) -> int:
        host = normal_host(authority)
        index = self._table.get(host)
        if index is None:
            return self._others if self._allows(host) else self._misdirected
        return index

    def _allows(self, host: str) -> bool:
        allowed = self._allowed
        return allowed is None or not host or is_address(host) or bool(allowed.get(host))


class PathRouter(Router):
    """Passes each request to the site of its path.

    by_path: the sites that select_index returns the indices of. others: the site of all other
    paths, and of targets that are none.
    """

    def __init__(
        self,
        by_path: Sequence[Site],
        others: Site,
        select_index: SelectByPath,
        notes: Notes = NO_NOTES,
        *,
        decode_slashes: bool = False,
    ) -> None:
        super().__init__((*by_path, others), notes)
        self._others = len(by_path)
        self._select_index = select_index
        self._decode_slashes = decode_slashes

    def select(self, request: Request) -> int:
        """Return which site has a request's path, as it is once it is decoded and resolved."""
        try:
            path = parse_path(request.target, decode_slashes=self._decode_slashes)
        except HttpError:
            return self._others
        slash = b"/" if path.is_directory and path.segments else b""
        index = self._select_index(b"/" + b"/".join(path.segments) + slash)
        return self._others if index is None else index


class Misdirected:
    """Answers requests for a host that the server does not serve (RFC 9110 section 15.5.20).

    detail: one sentence for the user, who may be the one to allow that host.
    """

    def __init__(self, detail: str) -> None:
        self._detail = detail

    def handle(self, request: Request, context: RequestContext) -> NoReturn:  # noqa: ARG002 - Handler
        """Raise HttpError 421."""
        raise HttpError(421, self._detail)
