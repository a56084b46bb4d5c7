"""From settings to the store of links, which a worker owns."""

from typing import TYPE_CHECKING

from aserve.config.settings import Settings
from aserve.config.shares import store_file

if TYPE_CHECKING:
    from aserve.shares.store import ShareStore


def open_store(settings: Settings) -> "ShareStore | None":
    """Return the store of links, None where they are not served. Its file is opened when needed."""
    if not settings.share:
        return None
    from aserve.shares.store import ShareStore

    return ShareStore(store_file(settings.share))
