"""What a site needs that can be written to: nothing, and nothing is imported, if none can be."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from aserve.config.settings import Settings
from aserve.filesystem.writing.digest_cache import DigestCache
from aserve.policies.policy import Policy

if TYPE_CHECKING:
    from aserve.access.rights import View
    from aserve.filesystem.writing.sweep import Sweeper
    from aserve.handlers.methods import Writers


def methods_of(
    settings: Settings, digests: DigestCache
) -> "Callable[[View | None], Writers | None]":
    """Return what returns the methods that change files in a view, None for a view of everything.

    They are None where nothing can be written to.
    """
    if not settings.write:
        return lambda _view: None
    from aserve.server.writers import build_storages, build_writers

    storages = build_storages(settings)  # which all views share, with their quota
    return partial(build_writers, settings, digests, storages)


def policies_of(settings: Settings, digests: DigestCache) -> Iterable[Policy]:
    """Return the policies of a site that can be written to, the outermost first."""
    if not settings.write:
        return ()
    from aserve.server.writers import build_policies

    return build_policies(settings, digests)


def sweeper_of(settings: Settings) -> "Sweeper | None":
    """Return what removes abandoned uploads of all sites, None where there can be none.

    It has a thread of its own once it is started.
    """
    if not any(site.write for site in settings.every_site):
        return None
    from aserve.server.writers import build_sweeper

    return build_sweeper(settings)


def unwritable_areas(settings: Settings) -> Iterable[tuple[str, str]]:
    """Return a setting and what is wrong, for each area in which the process cannot write."""
    if not settings.write:
        return ()
    from aserve.server.writers import find_unwritable

    return find_unwritable(settings)
