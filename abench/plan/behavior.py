"""How a connection behaves beyond sending requests: as a user's browser, or as a slow client."""

from dataclasses import dataclass

from abench.errors import ParameterError
from abench.plan import quantities

MAX_THINK_S = 3600.0
MIN_BANDWIDTH = 100  # bytes per second: with less, no response ends in time
MAX_BANDWIDTH = 10**10  # bytes per second: more than one process can receive

ThinkTime = tuple[float, float]
"""The shortest and the longest pause, in seconds."""


@dataclass(frozen=True, slots=True)
class Behavior:
    """How each connection behaves; by default it sends the next request at once, and for ever.

    `think_s` is how long it pauses between a response and the next request, drawn evenly;
    `requests_per_connection` after how many requests it is opened anew; `bandwidth` how many bytes
    per second it sends and receives at most. `follow` says that a redirect to the same server is
    followed, and that only the page behind it counts; `cookies` that it keeps the server's cookies.
    """

    think_s: ThinkTime | None = None
    requests_per_connection: int | None = None
    bandwidth: int | None = None
    follow: bool = False
    cookies: bool = False

    @property
    def is_user(self) -> bool:
        """Whether what is sent depends on the responses: any of it but bandwidth."""
        return bool(self.think_s or self.requests_per_connection or self.follow or self.cookies)

    def check(self, *, keep_alive: bool, is_scheduled: bool, is_sequential: bool) -> None:
        """Raise ParameterError for what is impossible, or with the rest of the plan.

        `is_sequential` tells that each response is read, with its head, before the next request.
        """
        if self.think_s:
            _check_think_time(self.think_s)
            if is_scheduled:
                raise ParameterError("--think-time", "a schedule says when requests start")
        if (number := self.requests_per_connection) is not None:
            if not keep_alive:
                raise ParameterError("--requests-per-connection", "with --no-keepalive it is 1")
            if number < 2:
                raise ParameterError(
                    "--requests-per-connection", "must be at least 2; --no-keepalive makes it 1"
                )
        if self.bandwidth is not None and not MIN_BANDWIDTH <= self.bandwidth <= MAX_BANDWIDTH:
            raise ParameterError(
                "--bandwidth", f"must be from {MIN_BANDWIDTH} bytes per second to 10G"
            )
        if self.is_user and not is_sequential:
            option = next(name for name, is_on in self._options() if is_on)
            raise ParameterError(option, "cannot be used with --pipeline, --http09 and --force")

    def _options(self) -> tuple[tuple[str, bool], ...]:
        return (
            ("--think-time", self.think_s is not None),
            ("--requests-per-connection", self.requests_per_connection is not None),
            ("--follow", self.follow),
            ("--cookies", self.cookies),
        )


PLAIN = Behavior()


def _check_think_time(think_s: ThinkTime) -> None:
    shortest, longest = think_s
    if not 0 <= shortest <= longest <= MAX_THINK_S or not longest:  # False for NaN, too
        raise ParameterError(
            "--think-time", f"must be a time, or two in order, of at most {MAX_THINK_S:.0f} s"
        )


def parse_think_time(text: str) -> ThinkTime:
    """Return the pause of `2s`, or the shortest and longest of `1s-3s`; raises ParameterError."""
    first, dash, last = text.partition("-")
    shortest = quantities.parse_seconds("--think-time", first)
    think_s = shortest, quantities.parse_seconds("--think-time", last) if dash else shortest
    _check_think_time(think_s)
    return think_s
