"""aserve with a slow disk: `python -m benchmarks.slow SECONDS [aserve's arguments]`.

Nothing is available without waiting, and everything else after so many seconds, as from a spinning
disk or a network.
"""

import sys
import time
from unittest.mock import patch

from aserve.cli.main import main
from aserve.filesystem.directory import Directory
from aserve.http.request_target import TargetPath
from aserve.http.resources import Resource


class SlowDisk(Directory):
    """A disk on which finding a file takes `seconds`."""

    seconds = 0.0

    def find(self, path: TargetPath, *, wait: bool) -> Resource:
        """Find after a while, or raise where waiting is not allowed."""
        if not wait:
            raise BlockingIOError
        time.sleep(self.seconds)
        return super().find(path, wait=wait)


if __name__ == "__main__":
    SlowDisk.seconds = float(sys.argv.pop(1))
    with patch("aserve.server.site_factory.Directory", SlowDisk):  # raises where there is none
        main()
