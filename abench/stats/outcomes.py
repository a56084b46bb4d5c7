"""The outcomes of requests as a connection counts them on the hot path: plain integers."""

from collections import Counter


class OutcomeRecorder:
    """The outcomes of some of a process's requests since they were last taken.

    `service` is a plain list of microseconds, one for each success, for a connection to append
    to. A response that is recognized as equal to the last parsed one costs nothing but that append:
    its status and length were given to `recognize_as`, and are multiplied out later. `response`
    holds the same times counted from when each request was due, with a schedule.
    """

    __slots__ = (
        "_bytes",
        "_failures",
        "_length",
        "_parsed",
        "_sizes",
        "_status",
        "_statuses",
        "response",
        "service",
    )

    def __init__(self) -> None:
        self.service: list[int] = []
        self.response: list[int] = []
        self._parsed = 0  # how many of `service` were counted one by one
        self._status = self._length = self._bytes = 0
        self._sizes: Counter[int] = Counter()
        self._statuses: Counter[int] = Counter()
        self._failures: Counter[str] = Counter()

    def recognize_as(self, status: int, length: int) -> None:
        """Count responses recognized from now on with this status and length in bytes."""
        self._count_recognized()
        self._status, self._length = status, length

    def recognized(self, status: int, length: int, took_us: int) -> None:
        """Count a response of `length` bytes that was recognized as one of several kinds."""
        self.service.append(took_us)
        self._parsed += 1
        self._statuses[status] += 1
        self._sizes[length] += 1
        self._bytes += length

    def success(self, status: int, took_us: int, size: int = 0) -> None:
        """Count a response that was parsed; its size in bytes is 0 if it is not known."""
        self.service.append(took_us)
        self._parsed += 1
        if status:  # HTTP/0.9 has none
            self._statuses[status] += 1
        if size:
            self._sizes[size] += 1

    def failure(self, kind: str, status: int = 0) -> None:
        """Count a failed request; `status` is that of its response, if a complete one came."""
        self._failures[kind] += 1
        if status:
            self._statuses[status] += 1

    def received(self, size: int) -> None:
        """Count bytes of a response that is being parsed."""
        self._bytes += size

    def _count_recognized(self) -> None:
        """Count the status and the bytes of the responses that were only recognized."""
        if recognized := len(self.service) - self._parsed:
            self._statuses[self._status] += recognized
            self._sizes[self._length] += recognized
            self._bytes += recognized * self._length
            self._parsed += recognized

    def _reset(self) -> None:
        """Begin anew, after the counts were taken."""
        self.service.clear()  # in place: connections hold its `append`
        self.response.clear()
        self._statuses, self._failures, self._sizes = Counter(), Counter(), Counter()
        self._parsed = self._bytes = 0
