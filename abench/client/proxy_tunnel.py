"""The tunnel that a proxy opens to a server (RFC 9110 section 9.3.6)."""

import re

BLANK_LINE = b"\r\n\r\n"
MAX_HEAD_SIZE = 65_536  # bytes of a proxy's response

_OPENED = re.compile(rb"HTTP/1\.[01] 2\d\d[ \r]")
_STATUS = re.compile(rb"HTTP/1\.[01] (\d\d\d)")


class ProxyError(ConnectionError):
    """A proxy that opens no tunnel; `reason` is a short word, by which failures are counted."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def check_response(head: bytes) -> None:
    """Raise ProxyError unless this is the complete head of a response that grants a tunnel."""
    if _OPENED.match(head) and head.endswith(BLANK_LINE):
        return
    line = head.partition(b"\r\n")[0].decode("latin-1") or "nothing"
    status = _STATUS.match(head)
    reason = f"proxy {status[1].decode()}" if status else "proxy"
    raise ProxyError(f"the proxy's response to CONNECT is {line[:80]!a}", reason)


def split_response(received: bytes, *, ended: bool) -> tuple[bytes, bytes] | None:
    """Return a proxy's response to CONNECT and what follows it; None until it is complete.

    Raises ProxyError if it grants no tunnel, or if it ended incomplete.
    """
    head, end, rest = received.partition(BLANK_LINE)
    if ended and not end:
        raise ProxyError("the proxy has closed the connection", "proxy closed")
    if not end and len(head) <= MAX_HEAD_SIZE:
        return None
    check_response(head + end)
    return head + end, rest
