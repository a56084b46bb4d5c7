"""Who may read the names of changed files: pages of this server, by its own names, alone."""

from aserve.http.host_names import HostTable, is_address, normal_host
from aserve.http.messages import HttpError, Request
from aserve.policies.request_origin import is_from_another_site

_LOCAL_SUFFIXES = (".localhost", ".local", ".internal", ".home.arpa", ".test")
"""Names that cannot be registered (RFC 6761, RFC 6762, RFC 8375)."""


def check_origin(request: Request, hosts: HostTable[bool]) -> None:
    """Raise HttpError 403 for a page of another site, or one that got here by a foreign name.

    A page of another site may lead its own name to this address once it is loaded (DNS rebinding);
    to a browser it then has the same origin. hosts: names that the server was told are its own.
    """
    if is_from_another_site(request):
        raise HttpError(403, "Only pages of this server may ask for its changes.")
    authority = request.headers.get("host", "")
    name = normal_host(authority)
    if authority and not (_is_local(name) or hosts.get(name)):
        raise HttpError(403, "Changes are told under local names and addresses only.")


def _is_local(name: str) -> bool:
    is_single = bool(name) and "." not in name  # no name of the public DNS
    return is_single or name.endswith(_LOCAL_SUFFIXES) or is_address(name)
