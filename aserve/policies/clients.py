"""Which clients are served at all: all others get 403, whatever they ask for."""

from aserve.access.networks import ClientNetworks
from aserve.cache.keys import KeyedOn
from aserve.handlers.handler import Note, RequestContext
from aserve.http.messages import BodySink, HttpError, Request, Response
from aserve.policies.router import Router
from aserve.policies.site import Site


class ClientRouter(Router):
    """Passes the requests of some clients to a site, and rejects those of all others.

    rejecting: answers them; it has no files. networks: of which clients. place: where they are set.
    Cached responses are for all who are served, and the others are kept from the cache.
    """

    own_keys = KeyedOn(counts_client=True)

    def __init__(
        self, site: Site, rejecting: Site, networks: ClientNetworks, place: str = ""
    ) -> None:
        super().__init__((site, rejecting))
        self._is_denied = networks.is_denied
        self._is_barred_inside = site.is_barred
        self._place = place
        self.is_barred = self._is_barred

    def select(self, request: Request) -> int:  # noqa: ARG002 - Router
        """Return the site of those who are served."""
        return 0

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Return what the site returns, or 403."""
        if context.notes is not None:  # no client has asked
            context.notes.append(Note("access", "not all addresses are served", self._place))
        elif self._is_denied(context.client):
            rejected = request if request.error else request._replace(error=_not_served())
            return self._sites[1].handle(rejected, context)
        return self._sites[0].handle(request, context)

    def _accept_body(self, request: Request, context: RequestContext) -> BodySink | None:
        if self._is_denied(context.client):
            raise _not_served()
        accept_body = self._sites[0].accept_body
        return accept_body(request, context) if accept_body else None

    def _is_barred(self, client: str, now: int) -> bool:
        inside = self._is_barred_inside
        return self._is_denied(client) or (inside is not None and inside(client, now))


def _not_served() -> HttpError:
    return HttpError(403, "Clients with your address are not served here.", close=True)
