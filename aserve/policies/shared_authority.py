"""Has the certificate of the authority at a path of its own, beside whatever is served."""

from aserve.handlers.authority_certificate import PATH
from aserve.handlers.handler import Note
from aserve.http.messages import Request
from aserve.policies.router import Router
from aserve.policies.site import Site


class AuthorityRouter(Router):
    """Passes one path to a site with the certificate, and all others on, whatever their host is.

    It is before logins, and before the redirect to https: who needs the certificate has no
    login yet, and cannot trust TLS. certificate: is public, and protected by nothing but its
    fingerprint, which its user compares.
    """

    def __init__(self, certificate: Site, others: Site, place: str = "") -> None:
        super().__init__((others, certificate), {certificate: Note("site", "the authority", place)})

    def select(self, request: Request) -> int:
        """Return which site has a request's path."""
        return int(request.target == PATH)
