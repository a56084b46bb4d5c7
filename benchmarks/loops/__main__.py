"""Measure aserve on several event loops and versions of Python, and write docs/event-loops.md."""

import sys

from benchmarks.__main__ import Defaults, main
from benchmarks.loops.works import ROWS

if __name__ == "__main__":
    names = tuple(work.name for work in ROWS)
    sys.exit(main(Defaults("benchmarks.loops", __doc__ or "", 3, 2, names)))
