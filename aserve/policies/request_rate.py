"""How many requests each client may make in a time: what is more gets 429."""

from aserve.access.rates import NANOSECONDS, Rate, RequestCounts
from aserve.cache.keys import KeyedOn
from aserve.handlers.handler import CountRequest, Note
from aserve.http.messages import HttpError, Request
from aserve.http.subscribers import subscriber_of
from aserve.policies.policy import Policy


class RequestRate(Policy):
    """Counts the requests of each client, whatever is answered, also those that the cache answers.

    scope: what the rate is for: equal rates with equal scopes are counted together. note: what says
    of the rate where it is set.
    """

    keyed_on = KeyedOn(counts_client=True)

    def __init__(self, rate: Rate, counts: RequestCounts, scope: str, note: Note) -> None:
        self.count_request: CountRequest | None = self._count
        self.notes = (note,)
        self._rate = rate
        self._take = counts.take
        self._salt = hash((scope, rate))  # forked processes share the seed of hashes

    def _count(self, _request: Request, client: str, now: float) -> HttpError | None:
        key = hash(subscriber_of(client)) ^ self._salt
        if wait := self._take(key, self._rate, int(now * NANOSECONDS)):
            return _too_many(-(-wait // NANOSECONDS))
        return None


def _too_many(seconds: int) -> HttpError:
    """Return what a client is told that may ask again in so many seconds (RFC 6585 section 4)."""
    headers = (("Retry-After", str(seconds)),)
    return HttpError(429, "You have sent too many requests. Try again later.", headers)
