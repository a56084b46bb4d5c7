"""Measure compression alone, as `make compare` does among all others, and write the pages."""

import sys

from benchmarks.__main__ import Defaults, main
from benchmarks.compression.works import ROWS

if __name__ == "__main__":
    names = tuple(work.name for work in ROWS)
    sys.exit(main(Defaults("benchmarks.compression", __doc__ or "", 3, 2, names)))
