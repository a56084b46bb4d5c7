"""From settings to what links lead to."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial

from aserve.access.shared_view import SharedView
from aserve.config.settings import Settings
from aserve.config.shares import paths_in_site
from aserve.policies.shares import ShareRouter
from aserve.policies.site import Site
from aserve.shares.store import ShareStore

_MAX_SITES = 64
"""Views of links that are kept: each takes a millisecond to make."""

BuildView = Callable[[SharedView, int], Site]
"""Returns the site of a view. It gets how many names of each path are not told."""


def route_links(
    settings: Settings, site: Site, store: ShareStore, build_view: BuildView
) -> ShareRouter:
    """Return what answers every request to a site, and the URLs of links to what is in it."""

    def build(tops: Sequence[bytes]) -> Site:
        view = SharedView(tops, settings.access_rules)
        # As it is in its file, each byte goes past this process: what the kernel took is known.
        return build_view(view, tops[0].count(b"/")).without_inlined_bodies()

    return ShareRouter(
        site,
        store,
        partial(paths_in_site, settings.root),
        lru_cache(_MAX_SITES)(build),
        decode_slashes=settings.decode_slashes,
        needs_tls=settings.has_tls,
        place=settings.place_of("share"),
    )
