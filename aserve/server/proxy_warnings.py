"""What a user should know of a server with a proxy in front, which it may not know of."""

from collections.abc import Iterator

from aserve.access.networks import UNIX, is_wide
from aserve.config.settings import Settings
from aserve.http.host_names import is_local_name

_MAX_NAMED = 3


def warnings_behind_proxy(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield what is odd where only this machine can reach the server, so that others need a proxy.

    Each is a setting and a reason.
    """
    if settings.proxy_trust:
        return
    for setting in ("allow", "deny"):
        if getattr(settings, setting):
            yield setting, "clients behind a proxy on this machine have its address: --proxy-trust"
    foreign = [host for host in settings.named_hosts if not is_local_name(host)]
    if foreign:
        hosts = ", ".join(foreign[:_MAX_NAMED])
        reason = f"clients of {hosts} come by a proxy, whose address they all have without this"
        yield "proxy_trust", reason


def warnings_of_trust(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield which proxies are trusted that others can pretend to be: a setting and a reason."""
    for text in settings.proxy_trust:
        if text != UNIX and is_wide(text):
            yield "proxy_trust", f"{text}: every client there can say that it is another one"
