"""Who may read the names of changed files: pages of this server, by its own names, alone."""

from aserve.http.host_names import HostTable, is_local_name, normal_host
from aserve.http.messages import HttpError, Request
from aserve.policies.request_origin import is_from_another_site


def check_origin(request: Request, hosts: HostTable[bool]) -> None:
    """Raise HttpError 403 for a page of another site, or one that got here by a foreign name.

    A page of another site may lead its own name to this address once it is loaded (DNS rebinding);
    to a browser it then has the same origin. hosts: names that the server was told are its own.
    """
    if is_from_another_site(request):
        raise HttpError(403, "Only pages of this server may ask for its changes.")
    authority = request.headers.get("host", "")
    name = normal_host(authority)
    if authority and not (is_local_name(name) or hosts.get(name)):
        raise HttpError(403, "Changes are told under local names and addresses only.")
