"""Who may read the names of changed files: pages of this server, by its own names, alone."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from aserve.http.messages import HttpError, Request
from aserve.policies.request_origin import is_from_another_site

_LOCAL_SUFFIXES = (".localhost", ".local", ".internal", ".home.arpa", ".test")
"""Names that cannot be registered (RFC 6761, RFC 6762, RFC 8375)."""


def check_origin(request: Request, host: str) -> None:
    """Raise HttpError 403 for a page of another site, or one that got here by a foreign name.

    A page of another site may lead its own name to this address once it is loaded (DNS rebinding);
    to a browser it then has the same origin. host: the name that the server listens on.
    """
    if is_from_another_site(request):
        raise HttpError(403, "Only pages of this server may ask for its changes.")
    authority = request.headers.get("host", "")
    if authority and not _is_local(_host_name(authority), host):
        raise HttpError(403, "Changes are told under local names and addresses only.")


def _host_name(authority: str) -> str:
    try:
        return urlsplit(f"//{authority}").hostname or ""
    except ValueError:
        return ""


def _is_local(name: str, host: str) -> bool:
    name = name.rstrip(".")
    if not name or "." not in name or name == host.lower() or name.endswith(_LOCAL_SUFFIXES):
        return bool(name)
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
