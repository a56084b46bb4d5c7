"""What a connection counts on the hot path: plain integers, which leave as a Summary."""

import time
from collections import Counter

from abench.stats import samples
from abench.stats.handshakes import HandshakeRecorder
from abench.stats.histogram import Histogram
from abench.stats.outcomes import OutcomeRecorder
from abench.stats.phases import PhaseRecorder
from abench.stats.samples import MAX_PER_KIND, REDIRECT, Sample
from abench.stats.summary import Summary

_WRONG = ("status", "body", "protocol")  # something came, but not the expected response


class Recorder(OutcomeRecorder):
    """The counts of one process since they were last taken, for the hot path.

    `request_size` is the length in bytes of every request, 0 if they differ: then `sent` is called
    for each that was answered.
    """

    __slots__ = (
        "_reasons",
        "_request_size",
        "_responses",
        "_samples",
        "_sent",
        "_unanswered",
        "followed",
        "handshakes",
        "phases",
        "retried",
    )

    def __init__(self, request_size: int = 0) -> None:
        super().__init__()
        self.handshakes = HandshakeRecorder()
        self.phases = PhaseRecorder()
        self._responses = self._unanswered = 0  # up to the last `take`
        self.followed = 0  # redirects, which are no pages
        self.retried = 0  # requests retried because a keep-alive connection was stale
        self._sent = 0
        self._request_size = request_size
        self._reasons: Counter[str] = Counter()
        self._samples: dict[str, dict[str, Sample]] = {}  # by kind and detail

    def failure(self, kind: str, status: int = 0, *parts: object) -> None:
        """Count a failed request; `status` is that of its response, if a complete one came.

        `parts` are the parts of a message, which is formatted only for the first of its kind.
        """
        super().failure(kind, status)
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

    def add_recognized(self, number: int, status: int, length: int, sent: int) -> None:
        """Count that many of `service` as recognized for one URL, with requests of `sent` bytes."""
        self._parsed += number
        self._statuses[status] += number
        self._sizes[length] += number
        self._bytes += number * length
        self._sent += number * sent

    def connect_failed(self, reason: str) -> None:
        """Count a connection that could not be opened, by the name of the system's error."""
        self._reasons[reason] += 1

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
            sizes=Histogram.of_distinct(self._sizes),
            bytes_received=self._bytes,
            bytes_sent=self._take_sent(),
            retried=self.retried,
            followed=self.followed,
            phases=self.phases.take(),
            handshakes=self.handshakes.take(),
            samples=[one for by_detail in self._samples.values() for one in by_detail.values()],
        )
        if self._bytes or self.service or self._failures:
            taken.series.add(at_s, taken.interval())
        self._reset()
        self._reasons = Counter()
        self._samples = {REDIRECT: self._samples.get(REDIRECT, {})}
        self.retried = self.followed = 0
        return taken

    def _take_sent(self) -> int:
        """Return the bytes of the requests that were answered, and reset their count."""
        answered = len(self.service) + self._failures["status"] + self._failures["body"]
        sent, self._sent = self._sent + answered * self._request_size, 0
        return sent
