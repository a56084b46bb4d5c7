"""The head of a response as it is sent."""

from aserve.http.messages import REASON_PHRASES, Response


def encode_head(response: Response, date: str, connection: str | None) -> bytes:
    """Return the status line and the headers (RFC 9112 sections 4 and 5).

    date: the value of Date; connection: the value of Connection, None for no such header.
    """
    status = response.status
    head = f"HTTP/1.1 {status} {REASON_PHRASES[status]}\r\nDate: {date}\r\n"
    for name, value in response.headers:
        head += f"{name}: {value}\r\n"
    if response.length is not None:
        head += f"Content-Length: {response.length}\r\n"
    if connection is not None:
        head += f"Connection: {connection}\r\n"
    return (head + "\r\n").encode("latin-1")
