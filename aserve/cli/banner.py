"""The banner: what is served, where, how to share it and how to stop."""

import socket
from pathlib import Path

from aserve.config.settings import DEFAULT_PORT, Settings
from aserve.filesystem.mounts import ChangeTracking, Mounts
from aserve.filesystem.tree_watch import INTERVAL
from aserve.server.listeners import lan_url, url
from aserve.version import __version__


def format_banner(settings: Settings, listener: socket.socket) -> str:
    """Return the banner of a server that listens."""
    address = url(listener)
    is_default = settings.port is not None or f":{DEFAULT_PORT}/" in address
    port_note = "" if is_default else f"   (port {DEFAULT_PORT} is taken)"
    share = lan_url(listener) or "with --host 0.0.0.0, others in your network can open it"
    return "\n".join(
        (
            f"aserve {__version__} serves {_printable_path(settings.root)}",
            f"  open   {address}{port_note}",
            f"  share  {share}",
            *_live_line(settings),
            "  stop   Ctrl-C",
        )
    )


def _live_line(settings: Settings) -> list[str]:
    """Return the line about live reload, if it is on."""
    if not settings.live:
        return []
    tracking = Mounts().tracking_of(settings.root.stat().st_dev)
    note = f", looked for every {INTERVAL:g} s" if tracking is not ChangeTracking.EVENTS else ""
    return [f"  live   pages reload when a file changes{note}"]


def _printable_path(path: Path) -> str:
    """Return a path as it is, or quoted if it has characters that are not printable."""
    text = str(path)
    return text if text.isprintable() else repr(text)
