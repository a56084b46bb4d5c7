"""The group of a mix of requests: what is recognized on the hot path is counted later."""

from abench.stats.group_recorder import GroupRecorder
from abench.stats.recorder import Recorder


class MixRecorder(GroupRecorder):
    """A group of a mix of requests, which one connection sends in turns.

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
