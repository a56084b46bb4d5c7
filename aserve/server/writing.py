"""What a site needs that can be written to: nothing, and nothing is imported, if none can be."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from aserve.config.settings import Settings
from aserve.filesystem.writing.digest_cache import DigestCache
from aserve.handlers.methods import Writers
from aserve.policies.policy import Policy

if TYPE_CHECKING:
    from aserve.filesystem.writing.sweep import Sweeper


def methods_of(settings: Settings, digests: DigestCache) -> Writers | None:
    """Return the methods that change files, None where nothing can be written to."""
    if not settings.write:
        return None
    from aserve.server.writers import build_writers

    return build_writers(settings, digests)


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
