"""Requests with a TLS connection of their own, which are timed without its handshake as well."""

from abench.client.connection import Connection
from abench.client.connection_pool import ConnectionPool
from abench.client.one_shot import OneShot
from abench.client.open_loop import OpenLoop, StagedOpenLoop


class WithoutHandshake(Connection):
    """Also records the time of each success from when its connection was open."""

    __slots__ = ()

    def __init__(self, pool: ConnectionPool) -> None:
        super().__init__(pool)
        record_service = self._record_recognized

        def record(elapsed: int) -> None:
            record_service(elapsed)
            self._record_request(elapsed)

        self._record = self._record_recognized = record

    def _record_response(self, elapsed: int) -> None:
        super()._record_response(elapsed)
        self._record_request(elapsed)

    def _record_request(self, elapsed: int) -> None:
        request_us = self.sent_at + elapsed - self._opened_at_us
        self._pool.recorder.handshakes.request.append(request_us)


class TlsOneShot(WithoutHandshake, OneShot):
    """One connection with TLS per request, in a closed loop."""

    __slots__ = ()


class TlsOpenLoop(WithoutHandshake, OpenLoop):
    """One connection with TLS per request, each when a schedule says so."""

    __slots__ = ()


class TlsStagedOpenLoop(WithoutHandshake, StagedOpenLoop):
    """One connection with TLS per request, each also recorded in its stage."""

    __slots__ = ()
