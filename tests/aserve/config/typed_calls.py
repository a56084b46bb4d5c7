"""Calls as type checkers must see them. `make check` runs mypy on this file; nothing imports it.

Each wrong call has the code of its error, and mypy reports a comment that is not needed.
"""

from pathlib import Path

import aserve
from aserve.pytest_plugin import ServerFactory


class Now:
    """A handler of one's own."""

    def handle(self, request: aserve.Request, context: aserve.RequestContext) -> aserve.Response:
        """Return the time, or nothing to HEAD."""
        body = () if request.method == "HEAD" else (str(context.now).encode(),)
        return aserve.Response(200, (("Content-Type", "text/plain"),), body)


def valid_calls(aserve_server: ServerFactory) -> str:
    """Make calls that must pass."""
    aserve.Server("www", threads=3, limits=aserve.Limits(max_body=aserve.UNLIMITED), port=None)
    aserve.Server({"": "www", "docs": Path("/srv/docs")}).reload({"a": "www"})
    paths = (aserve.PathSettings("*.md", charset="none"),)
    sites = (aserve.VirtualHost(["a.test"], {"docs": "docs"}, title="A", paths=paths),)
    aserve.Server({}, sites=sites, allowed_hosts=("local",)).reload(sites=())
    headers = {"/docs/*": {"X-Robots-Tag": "none"}}
    aserve.Server("www", headers=headers, cors=("*",), cache=60, handlers={"/now": Now()})
    return aserve_server("www", types=("a=text/plain",), access_log=print).url


def invalid_calls(aserve_server: ServerFactory) -> None:
    """Make calls of which each must be an error."""
    aserve.Server("www", trheads=3)  # type: ignore[call-arg]
    aserve.Server("www", threads="3")  # type: ignore[arg-type]
    aserve.Server("www", workers=2)  # type: ignore[call-arg]
    aserve.Server({"docs": None})  # type: ignore[dict-item]
    aserve.Server("www", sites=["a.test"])  # type: ignore[arg-type]
    aserve.VirtualHost(["a.test"])  # type: ignore[call-arg]
    aserve.VirtualHost(["a.test"], "www", pagesize="A")  # type: ignore[call-arg]
    aserve.PathSettings("/a", page_size="3")  # type: ignore[arg-type]
    aserve.Server(None)  # type: ignore[arg-type]
    aserve_server("www", types="a=text/plain")  # type: ignore[arg-type]
    aserve.Server("www", headers="/* X-A: 1")  # type: ignore[arg-type]
    aserve.Server("www", handlers={"/now": print})  # type: ignore[dict-item]
    aserve.Limits(idle_timeout=3)  # type: ignore[call-arg]
