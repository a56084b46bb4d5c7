"""aserve: an asyncio-native HTTP/1.1 static file server.

Serve a directory from a program or a test::

    import asyncio
    import urllib.request

    import aserve

    async def main() -> None:
        async with aserve.Server("www/", port=0) as server:
            page = await asyncio.to_thread(urllib.request.urlopen, server.url)
            print(page.status)

    asyncio.run(main())

In a program without an event loop, use `with`: the server runs in a thread::

    with aserve.Server("www/") as server:
        page = urllib.request.urlopen(server.url)

pytest has the fixture aserve_server: see aserve.pytest_plugin.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from aserve.version import __version__

if TYPE_CHECKING:
    from aserve.config.settings import Settings, SettingsError
    from aserve.config.virtual_hosts import PathSettings, VirtualHost
    from aserve.handlers.handler import Handler, RequestContext
    from aserve.http.messages import HttpError, Request, Response
    from aserve.http1.limits import UNLIMITED, LimitError, Limits
    from aserve.server.embedded import Server
    from aserve.server.listeners import ListenError

__all__ = [
    "UNLIMITED",
    "Handler",
    "HttpError",
    "LimitError",
    "Limits",
    "ListenError",
    "PathSettings",
    "Request",
    "RequestContext",
    "Response",
    "Server",
    "Settings",
    "SettingsError",
    "VirtualHost",
    "__version__",
]

_EXPORTS = {
    "UNLIMITED": "aserve.http1.limits",
    "Handler": "aserve.handlers.handler",
    "HttpError": "aserve.http.messages",
    "LimitError": "aserve.http1.limits",
    "Limits": "aserve.http1.limits",
    "ListenError": "aserve.server.listeners",
    "PathSettings": "aserve.config.virtual_hosts",
    "Request": "aserve.http.messages",
    "RequestContext": "aserve.handlers.handler",
    "Response": "aserve.http.messages",
    "Server": "aserve.server.embedded",
    "Settings": "aserve.config.settings",
    "SettingsError": "aserve.config.settings",
    "VirtualHost": "aserve.config.virtual_hosts",
}


def __getattr__(name: str) -> object:
    """Import a public name on first use, so that the program starts before everything is loaded."""
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
