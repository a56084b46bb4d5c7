"""What a connection counts of a group of requests on the hot path, such as those for one URL."""

from collections.abc import Sequence

from abench.stats.groups import GroupStats
from abench.stats.histogram import Histogram
from abench.stats.outcomes import OutcomeRecorder


class GroupRecorder(OutcomeRecorder):
    """The counts of one process for one group since they were last taken."""

    __slots__ = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was counted."""
        return not (self.service or self._failures)

    def take(self, waits: Sequence[tuple[int, int]] = ()) -> GroupStats:
        """Return the counts since the last call, and reset them.

        `waits` are those of the requests in flight at the end: since the start and since due, in
        microseconds.
        """
        self._count_recognized()
        taken = GroupStats(
            service=Histogram.of(self.service),
            response=Histogram.of(self.response),
            status=self._statuses,
            failures=self._failures,
            bytes_received=self._bytes,
        )
        taken.record_waits(waits)
        self._reset()
        return taken
