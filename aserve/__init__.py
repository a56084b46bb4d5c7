"""aserve: an asyncio-native HTTP/1.1 static file server.

Serve a folder from a program or a test::

    import asyncio
    import urllib.request

    import aserve

    async def main() -> None:
        async with aserve.Server("www/", port=0) as server:
            page = await asyncio.to_thread(urllib.request.urlopen, server.url)
            print(page.status)

    asyncio.run(main())

Without a loop, `with` does the same from a thread::

    def test_the_site():
        with aserve.Server("www/") as server:
            assert urllib.request.urlopen(server.url).status == 200
"""

from importlib import import_module
from typing import TYPE_CHECKING

from aserve.version import __version__

if TYPE_CHECKING:
    from aserve.service.server import Server
    from aserve.service.sockets import CannotListen
    from aserve.settings import Settings, SettingsError

__all__ = ["CannotListen", "Server", "Settings", "SettingsError", "__version__"]

_HOMES = {
    "CannotListen": "aserve.service.sockets",
    "Server": "aserve.service.server",
    "Settings": "aserve.settings",
    "SettingsError": "aserve.settings",
}


def __getattr__(name: str) -> object:
    """Import what is asked for when it is asked for: the program can begin before all of it."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
