"""What a connection counts of a group of requests on the hot path, such as those for one URL."""

from collections.abc import Sequence

from abench.stats.groups import GroupStats
from abench.stats.histogram import Histogram
from abench.stats.outcomes import OutcomeRecorder
from abench.stats.recorder import Recorder


class GroupRecorder(OutcomeRecorder):
    """The counts of one process for one group since they were last taken.

    A response that is recognized as the `expected` one is appended to the lists of the group and of
    the whole run, and nothing else: its status and length are counted by `settle`, for both.
    """

    __slots__ = ("_request_size", "_run", "append", "expected")

    def __init__(self, run: Recorder) -> None:
        super().__init__()
        self.append = self.service.append
        self.expected: object = None
        self._run = run
        self._request_size = 0

    def expect(self, expected: object, status: int, length: int, request_size: int) -> None:
        """Count what is recognized as `expected` from now on with this status and length in bytes.

        `request_size` is the length of the request.
        """
        self.recognize_as(status, length)
        self.expected, self._request_size = expected, request_size

    def settle(self) -> None:
        """Count the responses that were only recognized, before the counts of the run are taken."""
        self._count_recognized()

    def _count_recognized(self) -> None:
        if recognized := len(self.service) - self._parsed:
            self._run.add_recognized(recognized, self._status, self._length, self._request_size)
            super()._count_recognized()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was counted."""
        return not (self.service or self._failures)

    def take(self, waits: Sequence[tuple[int, int]] = ()) -> GroupStats:
        """Return the counts since the last call, and reset them.

        `waits` are those of the requests in flight at the end: since the start and since due, in
        microseconds.
        """
        self.settle()
        taken = GroupStats(
            service=Histogram.of(self.service),
            response=Histogram.of(self.response),
            waits=Histogram.of([wait for wait, _ in waits]),
            due_waits=Histogram.of([wait for _, wait in waits]),
            status=self._statuses,
            failures=self._failures,
            bytes_received=self._bytes,
            unfinished=len(waits),
        )
        self._reset()
        return taken
