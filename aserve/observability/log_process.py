"""The access log in a process of its own, for a server that forks.

The log has a thread, and a process that forks must have none. The server and all of its children
send their entries to one process, so that no line is torn, and their order is that of their ends.
"""

import json
import logging
import os
import signal
import socket
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import suppress

from aserve.http.messages import HttpError, Request
from aserve.observability.access_log import AccessLog
from aserve.observability.log_formats import MAX_FIELD, shortened

_MAX_ENTRY = 1 << 16  # bytes of one message; an entry has three fields, which shortened cuts

_logger = logging.getLogger("aserve")


class LogProcess:
    """Records responses in a log that another process writes. Any fork of this one may call it.

    open_log: called in that process. grace: seconds that it may take to write the last lines.
    signals: those that reopen the log; on_signal passes them on.
    """

    def __init__(
        self, open_log: Callable[[], AccessLog], grace: float, signals: AbstractSet[int]
    ) -> None:
        self.signals = signals
        # Each entry is one message, whole: the kernel mixes none of them.
        receiver, self._sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._has_ended = False
        self._pid = os.fork()
        if not self._pid:
            self._sender.close()
            os._exit(_write_entries(receiver, open_log, grace))
        receiver.close()

    def __call__(  # noqa: PLR0913, PLR0917 - as ResponseObserver
        self,
        client: str,
        request: Request,
        status: int,
        body_size: int,
        started_at: float,
        truncated: bool = False,
        /,
    ) -> None:
        """Record a response that has ended now."""
        short = shortened(request, MAX_FIELD + 1)  # so that the log sees that it was longer
        detail = short.error.detail if short.error else ""
        parts = short.method, short.target, short.head, short.received, detail
        entry = client, parts, status, body_size, started_at, truncated
        with suppress(ConnectionError):  # the process has ended; on_exit said so
            self._sender.send(json.dumps(entry).encode())

    def on_signal(self, number: int) -> None:
        """Pass a signal on to the log."""
        if not self._has_ended:
            with suppress(ProcessLookupError):
                os.kill(self._pid, number)

    def on_exit(self, pid: int, how: str) -> None:
        """Report the end of the log's process, after which every entry is lost."""
        if pid == self._pid:
            self._has_ended = True
            _logger.error("access log: its process ended with %s; no more lines are written", how)

    def close(self, _grace: float) -> None:
        """Wait until all entries are written, those of the children as well: they have ended."""
        self._sender.close()
        with suppress(ChildProcessError):  # it ended before, and was reaped
            os.waitpid(self._pid, 0)


def _write_entries(receiver: socket.socket, open_log: Callable[[], AccessLog], grace: float) -> int:
    """Write what is received to the log, until nothing can send any more; return an exit code."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # the end of the server ends this process
        log = open_log()
        while message := receiver.recv(_MAX_ENTRY):
            client, (method, target, head, received, detail), status, *rest = json.loads(message)
            error = HttpError(status, detail) if detail else None
            request = Request(method, target, head=head, error=error, received=received)
            log.record(client, request, status, *rest)
        log.close(grace)
    except BaseException as error:  # noqa: BLE001 - a child must not run the code of its parent
        _logger.error("access log: its process has ended: %r", error)
        return 1
    return 0
