"""Parts of handlers that are made for the first request that needs them (ADR 50)."""

from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

from aserve.handlers.handler import RequestContext

T = TypeVar("T")


class Deferred(Generic[T]):
    """A part that is made once, with the modules that it is made of; any thread may ask for it.

    Modules are read from the disk as files are: not on an event loop, but in a thread.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: T | None = None
        self._lock = Lock()

    def get(self, context: RequestContext) -> T:
        """Return the part. Raises BlockingIOError if it is not made yet and that may not wait."""
        if self._made is not None:
            return self._made
        if not context.may_wait:
            raise BlockingIOError
        return self.prepare()

    def prepare(self) -> T:
        """Make the part if it is not made yet, and return it."""
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made
