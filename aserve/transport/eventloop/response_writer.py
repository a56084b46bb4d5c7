"""How a connection on an event loop sends its responses: at once, or in a task."""

import asyncio
import socket
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, cast

from aserve.cache.keys import ConnectionFacts
from aserve.handlers.handler import RequestContext
from aserve.http.dates import format_date
from aserve.http.error_pages import TOO_MANY_FILES
from aserve.http.messages import BodyPart, FileSlice, HttpError, Request, Response, Takeover
from aserve.transport.eventloop.connection_host import ConnectionHost, PendingResponse
from aserve.transport.eventloop.discarding import discard_parts
from aserve.transport.eventloop.file_sender import FileSender
from aserve.transport.eventloop.response_sender import ResponseSender
from aserve.transport.eventloop.transport_sender import TransportSender
from aserve.transport.internal_errors import isolate_errors
from aserve.transport.response_end import ResponseEnd
from aserve.transport.server_connection import RESET, ServerConnection

if TYPE_CHECKING:
    from aserve.transport.eventloop.proxied_cache import ProxiedCache


class ResponseWriter(ServerConnection, asyncio.Protocol):
    """The sending half of a connection: what does not fit into one write leaves by its sender."""

    __slots__ = (
        "_bytes_written",
        "_facts",
        "_host",
        "_is_reading",
        "_partition_key",
        "_request_context",
        "_sender",
        "_takeover",
        "_task",
        "_transport",
        "_write_resumed",
    )

    # Connection sets them all, which saves each client a call.
    _bytes_written: int
    """Bytes written to the transport, in total."""
    _request_context: RequestContext
    """That of the current request."""
    _facts: ConnectionFacts
    """What policies see of the client."""
    _partition_key: bytes
    """Of the part of the cache that is for the client."""
    _proxied: "ProxiedCache | None"
    """The clients of the peer, if it is a trusted proxy."""
    _sender: ResponseSender | None
    """Set by the first response that takes several writes."""
    _host: ConnectionHost
    _is_reading: bool
    """Whether the transport passes on what the client sends."""
    _takeover: Takeover | None
    """What has this connection now."""
    _task: asyncio.Task[None] | None
    """Sends the rest of a response, or prepares a takeover."""
    _transport: asyncio.Transport
    _write_resumed: asyncio.Event | None
    """Set while writing is paused."""

    # Called by the event loop.

    def pause_writing(self) -> None:
        """Stop writing: the client reads more slowly than we write."""
        self._write_resumed = asyncio.Event()

    @isolate_errors
    def resume_writing(self) -> None:
        """Continue where writing was paused."""
        if self._write_resumed:
            self._write_resumed.set()
            self._write_resumed = None
        self._process_requests()

    # Called by the server.

    @isolate_errors
    def close_after_response(self) -> None:
        """Close after the response that is being sent, or at once if there is none."""
        if self._takeover:
            self._takeover.stop()
        else:
            self._close_after_response()

    def abort(self) -> None:
        """Close at once."""
        if self._takeover:
            self._takeover.abort()
        else:
            self._reset_if_unfinished()
            self._transport.abort()

    def _check_deadlines(self) -> None:
        if self._takeover:
            self._takeover.tick()
        else:
            super()._check_deadlines()

    # The accounts that ServerConnection keeps.

    @property
    def peer(self) -> str:
        """The address at the other end of the connection, or "-" if it has none."""
        if not self._peer:
            peer = self._transport.get_extra_info("peername")
            self._peer = peer[0] if isinstance(peer, tuple) and peer else "-"
        return self._peer

    @property
    def client(self) -> str:
        """The address of the client of the current request: the peer's, unless that is a proxy."""
        if self._proxied:
            return self._proxied.facts.client
        return self._peer or self.peer

    def _identify(self, proxied: "ProxiedCache", request: Request) -> Request:
        """Note which client has sent a request to its proxy; return it as it was sent there."""
        request = proxied.identify(request)
        _, self._facts, self._partition_key = proxied.visible
        return request

    def _socket_family(self) -> int:
        """Return the address family of the socket, AF_UNSPEC if it is not known."""
        sock = self._transport.get_extra_info("socket")
        return int(sock.family) if sock else socket.AF_UNSPEC

    def _total_sent(self) -> int:
        """Return how many bytes were handed to the transport or the kernel."""
        return self._bytes_written + (self._sender.bytes_sent if self._sender else 0)

    def _total_delivered(self) -> int:
        return self._total_sent() - self._transport.get_write_buffer_size()

    @property
    def _is_blocked(self) -> bool:
        sender = self._sender
        return self._transport.get_write_buffer_size() > 0 or (
            sender is not None and sender.is_blocked
        )

    @property
    def _has_pending_io(self) -> bool:
        return self._task is not None

    def _close(self) -> None:
        self._transport.close()

    def _abort_response(self) -> None:
        if self.is_responding and not self._task:  # the task records its own response
            self._record_truncated(self._status or 500, 0)
        self._cancel_turn()
        self.abort()

    def _shutdown_write(self) -> None:
        if not self._transport.can_write_eof():  # TLS ends in both directions at once
            self._transport.close()
            return
        try:
            self._transport.write_eof()
        except OSError:  # asyncio calls shutdown at once, which fails with ENOTCONN after a reset
            self._transport.abort()

    def _reset_when_closed(self) -> None:
        with suppress(OSError):
            sock = socket.socket(fileno=self._transport.get_extra_info("socket").fileno())
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            finally:
                sock.detach()  # it belongs to the transport

    # Sending.

    def _write(self, data: bytes) -> None:
        self._bytes_written += len(data)
        self._transport.write(data)

    def _start_sending(self, parts: Sequence[BodyPart]) -> deque[BodyPart] | None:
        """Send what can be sent without waiting. Return the unsent parts, or None."""
        sender = self._sender
        self._response_start = self._bytes_written + (sender.bytes_sent if sender else 0)
        first, *rest = parts
        if isinstance(first, bytes) and not rest:  # most responses: without a call of _write
            self._bytes_written += len(first)
            self._transport.write(first)
            return None
        if self._transport.is_closing():
            return deque(parts)
        try:
            return (sender or self._get_sender()).try_send(parts)
        except (OSError, EOFError) as error:
            self._truncate(error)
            return deque(parts)

    def _get_sender(self) -> ResponseSender:
        """Return the connection's sender, which is made once: the best for its transport."""
        if not self._sender:
            pool, transport = self._host.thread_pool, self._transport
            if FileSender.can_send_on(transport):
                readiness = self._host.write_readiness
                self._sender = FileSender(transport, pool, self._wait_writable, readiness)
            else:
                self._sender = TransportSender(transport, pool, self._wait_writable)
        return self._sender

    def _send_remainder(self, unsent: deque[BodyPart] | None, status: int, body_size: int) -> None:
        """Send the unsent parts of a response in a task, or finish it if there are none.

        body_size: bytes of the body, without those of a stream, which are not known yet.
        """
        self._status = status
        if unsent and self._transport.is_closing():
            self._record_truncated(status, body_size - sum(map(len, unsent)))
            discard_parts(unsent, self._host.thread_pool)
        elif unsent or (self._on_end and self._transport.get_write_buffer_size()):
            self._task = self._host.loop.create_task(
                self._send(self._get_sender(), unsent or deque(), status, body_size)
            )
        else:
            self._response_sent(status, body_size)
            if self._host.successor:
                self.follow_reload()

    def _release_end(self, end: ResponseEnd) -> None:
        self._host.thread_pool.release(end)  # which a server that stops waits for

    def _end_unfinished(self, task: asyncio.Task[None] | None) -> None:
        """Tell a handler that its client has gone, unless the task that sends does so itself.

        It does not if it was cancelled before its first step.
        """
        end = partial(self._end_response, 0, is_truncated=True)
        if task:
            task.add_done_callback(lambda _: end())
        else:
            end()

    async def _wait_writable(self) -> None:
        if self._write_resumed:
            await self._write_resumed.wait()

    async def _send(
        self, sender: ResponseSender, unsent: deque[BodyPart], status: int, body_size: int
    ) -> None:
        """Send the rest of a response, as fast as the client and the disk allow."""
        sent_before = sender.bytes_sent + sum(map(len, unsent)) - body_size  # and before the body
        files = [part.source for part in unsent if isinstance(part, FileSlice)]
        try:
            await sender.send(unsent)
            if self._on_end:
                await sender.flush()
        except asyncio.CancelledError:
            self._record_truncated(status, sender.bytes_sent - sent_before)
            raise
        except Exception as error:  # noqa: BLE001 - an internal error ends the same way
            self._record_truncated(status, sender.bytes_sent - sent_before)
            self._truncate(error)
        else:
            self._task = None
            self._complete_response(status, sender.bytes_sent - sent_before)
        finally:
            for file in files:
                if not file.is_local:  # closing a remote file may wait for the network
                    self._host.thread_pool.submit(file.close)

    @isolate_errors
    def _complete_response(self, status: int, body_size: int) -> None:
        self._response_sent(status, body_size)
        if self._host.successor:
            self.follow_reload()
        self._process_requests()

    # Takeovers.

    def belongs_to(self, host: ConnectionHost) -> bool:
        """Tell whether a server answers what this connection is asked."""
        return self._host is host

    @abstractmethod
    def follow_reload(self) -> None:
        """Have the next requests answered by the latest successor, once none is under way."""

    @abstractmethod
    def _on_response(self, pending: PendingResponse) -> None:
        """Start to send a response that was waited for, if it is still wanted."""

    async def _prepare_takeover(self, response: Response, takeover: Takeover) -> None:
        try:
            if takeover.needs_descriptor and not self._reserve_descriptors():
                error = TOO_MANY_FILES
            else:
                await takeover.prepare()
                error = None
        except HttpError as refusal:
            error = refusal
        except BaseException as unexpected:
            takeover.abort()
            if not isinstance(unexpected, Exception):  # the client has gone
                raise
            self._task = None
            self.fail(unexpected)
            return
        self._task = None
        if error:
            takeover.abort()
            self._release_descriptors()
            self._on_response(self._host.reject(self._request, self._request_context, error))
        else:
            self._start_takeover(response, takeover)

    @isolate_errors
    def _start_takeover(self, response: Response, takeover: Takeover) -> None:
        """Send the head, and give the connection away."""
        http, transport = self._http, self._transport
        try:
            (head,) = http.start_response(response, format_date(int(time.time())))
            self._write(cast("bytes", head))
            if not self._is_reading:
                transport.resume_reading()
            has_ended, received = http.eof_received, http.take_over()
            takeover.start(transport, received, has_ended=has_ended, on_closed=self.connection_lost)
        except Exception:
            transport.set_protocol(self)  # which is told of the end, whatever start has set
            takeover.abort()  # and this connection as well
            raise
        self._takeover = takeover
        self._record(response.status, 0, self._started_at)
        if self._write_resumed:  # the transport says so once, and has said it to this protocol
            transport.get_protocol().pause_writing()
        if http.is_closing:  # close_after_response was called while the takeover was prepared
            takeover.stop()
