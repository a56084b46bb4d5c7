"""Measure TLS alone, as `make compare` does among all others, and write docs/tls-speed.md."""

import sys

from benchmarks.__main__ import Defaults, main
from benchmarks.tls.works import ROWS

if __name__ == "__main__":
    names = tuple(work.name for work in ROWS)
    sys.exit(main(Defaults("benchmarks.tls", __doc__ or "", 5, 3, names)))
