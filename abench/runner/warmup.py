"""How long to load a server before the clock of the run starts."""

from collections import deque

from abench.plan.plan import Plan
from abench.stats.summary import Summary

WINDOW_S = 1.0
STEADY_TOLERANCE = 0.05  # rates of two successive windows that differ by less are steady
MAX_S = 20.0


class WarmUp:
    """Watches the load before the clock starts, and tells when it is to start.

    Either after a given time, or once the server is steady: when the pages of the last second and
    those of the second before it differ by less than a twentieth. After 20 seconds the clock
    starts all the same, and the report says so.
    """

    def __init__(self, plan: Plan) -> None:
        self.steady = False
        self.requests = 0
        self._plan = plan
        self._pages: deque[tuple[float, int]] = deque()

    def add(self, at_s: float, counts: Summary) -> None:
        """Add counts of the warm-up that were reported `at_s` seconds from its start."""
        self.requests += counts.succeeded + counts.failed
        self._pages.append((at_s, counts.succeeded))
        while self._pages[0][0] <= at_s - 3 * WINDOW_S:  # older than both windows
            self._pages.popleft()

    def is_finished(self, now_s: float) -> bool:
        """Return whether the clock is to start, `now_s` seconds from the start of the load."""
        if not self._plan.warmup_auto:
            return now_s >= self._plan.warmup_s
        if now_s >= max(2 * WINDOW_S, self._plan.warmup_s):
            self.steady = self._is_steady(now_s)
        return self.steady or now_s >= MAX_S

    def _is_steady(self, now_s: float) -> bool:
        older = self._between(now_s - 2 * WINDOW_S, now_s - WINDOW_S)
        newer = self._between(now_s - WINDOW_S, now_s)
        return newer > 0 and abs(newer - older) < STEADY_TOLERANCE * newer

    def _between(self, since_s: float, until_s: float) -> int:
        return sum(pages for at_s, pages in self._pages if since_s < at_s <= until_s)
