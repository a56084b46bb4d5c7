"""From settings to what connections begin with."""

from typing import TYPE_CHECKING

from aserve.config.settings import Settings

if TYPE_CHECKING:
    from aserve.transport.proxy_protocol import ProxyProtocol


def build_proxy_protocol(settings: Settings) -> "ProxyProtocol | None":
    """Return what reads the headers of proxies, None where connections begin with HTTP or TLS."""
    if not settings.proxy_protocol:
        return None
    from aserve.transport.proxy_protocol import ProxyProtocol

    return ProxyProtocol(settings.proxy_trust)
