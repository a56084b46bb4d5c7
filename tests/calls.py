"""Counts calls: a cost that no other program on the machine can disturb."""

import sys
from collections import Counter


def count_calls(work):
    """Return how many calls, in Python and to C, work() makes, without the call of work itself."""
    counts = Counter(call=-1)

    def count(_frame, event, _argument):
        counts[event] += 1

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return counts["call"], counts["c_call"] - 1  # the last is setprofile itself
