"""From settings to what counts the requests of clients, whichever process they come to."""

import os
from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aserve.access.rates import RequestCounts
    from aserve.config.settings import Settings
    from aserve.config.virtual_hosts import PathSettings
    from aserve.policies.policy import Policy

_SIZE = 1 << 20  # bytes, for 65,536 clients
_MAX_POLICIES = 256  # that are made once; the sites of one server rarely have so many rates


class Rates:
    """The rates of one server. A reload keeps what was counted.

    file: in which requests are counted, None where no other process counts them.
    """

    def __init__(self, file: int | None = None) -> None:
        self._file = file
        self._policy = lru_cache(maxsize=_MAX_POLICIES)(self._make_policy)

    def of(self, settings: "Settings", scope: str) -> "tuple[Policy, ...]":
        """Return the policies that count requests to what settings are for: none, or one.

        scope: what their rate is set for. What has the same rate of the same scope counts together.
        """
        if not settings.rate:
            return ()
        return (self._policy(settings.rate, scope, settings.place_of("rate")),)

    @cached_property
    def _counts(self) -> "RequestCounts":
        from aserve.access.rates import RequestCounts, SharedRequestCounts

        return SharedRequestCounts(self._file) if self._file else RequestCounts(bytearray(_SIZE))

    def _make_policy(self, rate: str, scope: str, place: str) -> "Policy":
        from aserve.access.rates import parse_rate
        from aserve.handlers.handler import Note
        from aserve.policies.request_rate import RequestRate

        note = Note("access", f"each client may ask {rate}", place)
        return RequestRate(parse_rate(rate), self._counts, scope, note)


def site_scopes(settings: "Settings") -> list[str]:
    """Return the scope of the rate of each of settings.every_site, "" for that of the server."""
    own = [""] if settings.root else []
    return own + [site.name if "rate" in site.changes else "" for site in settings.sites]


def path_scope(scope: str, path: "PathSettings") -> str:
    """Return the scope of the rate of paths, scope being that of their site."""
    return f"{scope} {path.match}" if "rate" in path.changes else scope


@cache
def shared_file() -> int:
    """Return a file in memory that this process shares with all that it forks from now on.

    Its size takes nothing: a page is there once something was written to it.
    """
    descriptor = os.memfd_create("aserve-rates", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, _SIZE)
    return descriptor
