"""A fixed time, for the levels that have no clock."""

import time

NOW = int(time.time())
