"""Which links requests follow, for what looks at files without opening them."""

import os
from collections.abc import Collection

from aserve.filesystem.visibility import Symlinks, Visibility


class FollowedLinks:
    """The links that requests follow below some roots, which are directories or files."""

    def __init__(self, roots: Collection[bytes], visibility: Visibility) -> None:
        self._roots = roots
        self._visibility = visibility

    def leads_to(self, location: bytes) -> bool:
        """Tell whether a request gets what is at a location: through a link, if one is there."""
        if self._visibility.symlinks is Symlinks.NONE:
            return not os.path.islink(location)
        return self.allows(location)

    def allows(self, location: bytes) -> bool:
        """Tell whether requests follow the links on the way to a location."""
        if self._visibility.symlinks is Symlinks.NONE:
            return False
        real = os.path.realpath(location)
        for root in map(os.path.realpath, self._roots):
            inside = root.rstrip(b"/") + b"/"
            if real.startswith(inside):
                return self._visibility.allows_target(real[len(inside) :])
        return self._visibility.allows_outside(real)
