"""aserve with a slow disk: `python -m benchmarks.slow SECONDS [aserve's arguments]`.

Nothing is available without waiting, and everything else after so many seconds, as from a spinning
disk or a network.
"""

import sys
import time

from aserve.cli.main import main
from aserve.filesystem.directory import Directory
from aserve.http.request_target import TargetPath
from aserve.http.resources import Resource
from aserve.server import files


class SlowDisk(Directory):
    """A disk on which finding a file takes `seconds`."""

    seconds = 0.0

    def find(self, path: TargetPath, *, wait: bool) -> Resource:
        """Find after a while, or raise where waiting is not allowed."""
        if not wait:
            raise BlockingIOError
        time.sleep(self.seconds)
        return super().find(path, wait=wait)


def use_slow_disk(seconds: float) -> None:
    """Have every directory that this process serves be on such a disk."""
    SlowDisk.seconds = seconds
    files.Directory = SlowDisk  # type: ignore[misc]


if __name__ == "__main__":
    use_slow_disk(float(sys.argv.pop(1)))
    main()
