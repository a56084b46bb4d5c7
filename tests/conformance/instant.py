"""A moment that stands still, for the levels that have no clock."""

import time

NOW = int(time.time())
