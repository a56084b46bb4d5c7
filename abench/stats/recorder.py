"""What a connection counts on the hot path: plain integers, which leave as a Summary."""

import time
from collections import Counter

from abench.stats import samples
from abench.stats.handshakes import HandshakeRecorder
from abench.stats.histogram import Histogram
from abench.stats.samples import MAX_PER_KIND, REDIRECT, Sample
from abench.stats.summary import Summary

_WRONG = ("status", "body", "protocol")  # something came, but not the expected response


class Recorder:
    """The counts of one process since they were last taken, for the hot path.

    `service` is a plain list of microseconds, one for each success, for a connection to append
    to. A response that is recognized as equal to the last parsed one costs nothing but that append:
    its status and length were given to `recognize_as`, and are multiplied out in `take`.
    `response` holds the same times counted from when each request was due, with a schedule.
    `request_size` is the length in bytes of every request, 0 if they differ: then `sent` is called
    for each that was answered.
    """

    __slots__ = (
        "_bytes",
        "_failures",
        "_length",
        "_parsed",
        "_reasons",
        "_request_size",
        "_responses",
        "_samples",
        "_sent",
        "_status",
        "_statuses",
        "_unanswered",
        "followed",
        "handshakes",
        "response",
        "retried",
        "service",
    )

    def __init__(self, request_size: int = 0) -> None:
        self.service: list[int] = []
        self.response: list[int] = []
        self.handshakes = HandshakeRecorder()
        self._responses = self._unanswered = 0  # up to the last `take`
        self.followed = 0  # redirects, which are no pages
        self.retried = 0  # requests retried because a keep-alive connection was stale
        self._parsed = 0  # how many of `service` were parsed, not recognized
        self._status = self._length = self._bytes = self._sent = 0
        self._request_size = request_size
        self._statuses: Counter[int] = Counter()
        self._failures: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._samples: dict[str, dict[str, Sample]] = {}  # by kind and detail

    def recognize_as(self, status: int, length: int) -> None:
        """Count responses recognized from now on with this status and length in bytes."""
        self._count_recognized()
        self._status, self._length = status, length

    def success(self, status: int, took_us: int) -> None:
        """Count a response that was parsed."""
        self.service.append(took_us)
        self._parsed += 1
        if status:  # HTTP/0.9 has none
            self._statuses[status] += 1

    def failure(self, kind: str, status: int = 0, *parts: object) -> None:
        """Count a failed request; `status` is that of its response, if a complete one came.

        `parts` are the parts of a message, which is formatted only for the first of its kind.
        """
        self._failures[kind] += 1
        if status:
            self._statuses[status] += 1
        if parts:
            self.sample(kind, str(status) if status else "", *parts)

    def sample(self, kind: str, detail: str, *parts: object) -> None:
        """Keep the message if it is the first of its kind and detail since the last `take`.

        A redirect is kept for good: equal responses are recognized and not parsed again.
        """
        by_detail = self._samples.setdefault(kind, {})
        if detail not in by_detail and len(by_detail) < MAX_PER_KIND:
            now_us = time.perf_counter_ns() // 1000
            by_detail[detail] = Sample(now_us, kind, detail, samples.format_message(parts))

    def connect_failed(self, reason: str) -> None:
        """Count a connection that could not be opened, by the name of the system's error."""
        self._reasons[reason] += 1

    def received(self, size: int) -> None:
        """Count bytes of a response that is being parsed."""
        self._bytes += size

    def sent(self, size: int) -> None:
        """Count the bytes of a request that was answered, if they are not the same each time."""
        self._sent += size

    def redirect_followed(self, size: int) -> None:
        """Count a redirect that is followed, and the bytes of the request that it answered."""
        self.followed += 1
        self._sent += size

    @property
    def responses(self) -> int:
        """The number of responses so far, right or wrong; anything else that came included."""
        wrong = sum(self._failures[kind] for kind in _WRONG)
        return self._responses + len(self.service) + wrong

    @property
    def unanswered(self) -> int:
        """The number of requests so far that have failed, and nothing came."""
        failed = self._failures
        return self._unanswered + sum(failed[kind] for kind in failed if kind not in _WRONG)

    def take(self, at_s: int = 0) -> Summary:
        """Return the counts since the last call as those of second `at_s`, and reset them."""
        self._count_recognized()
        self._responses, self._unanswered = self.responses, self.unanswered
        taken = Summary(
            service=Histogram.of(self.service),
            response=Histogram.of(self.response),
            status=self._statuses,
            failures=self._failures,
            reasons=self._reasons,
            bytes_received=self._bytes,
            bytes_sent=self._take_sent(),
            retried=self.retried,
            followed=self.followed,
            handshakes=self.handshakes.take(),
            samples=[one for by_detail in self._samples.values() for one in by_detail.values()],
        )
        if self._bytes or self.service or self._failures:
            taken.series.add(at_s, taken.interval())
        self.service.clear()  # in place: connections hold its `append`
        self.response.clear()
        self._statuses, self._failures, self._reasons = Counter(), Counter(), Counter()
        self._samples = {REDIRECT: self._samples.get(REDIRECT, {})}
        self._parsed = self._bytes = self.retried = self.followed = 0
        return taken

    def _take_sent(self) -> int:
        """Return the bytes of the requests that were answered, and reset their count."""
        answered = len(self.service) + self._failures["status"] + self._failures["body"]
        sent, self._sent = self._sent + answered * self._request_size, 0
        return sent

    def _count_recognized(self) -> None:
        """Count the status and the bytes of the responses that were only recognized."""
        if recognized := len(self.service) - self._parsed:
            self._statuses[self._status] += recognized
            self._bytes += recognized * self._length
            self._parsed += recognized
