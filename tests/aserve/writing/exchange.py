"""Asks a row of a server, and looks at what it answers and at what is on the disk then."""

import re
import socket
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from tests.aserve.writing.rows import HeaderCheck, Row
from tests.aserve.writing.site import directory_of, expected_tree, tree_of
from tests.conformance.client import Address
from tests.conformance.reader import Reader, Response

TIMEOUT = 60.0
_TAG = re.compile(r"<<etag (?P<target>[^>]+)>>")
_WARM = 4  # times that a file is asked for until its response comes from the cache


def ask(row: Row, root: Path, address: Address) -> list[str]:
    """Send a row; return a description of each error. Its file is in the cache before."""
    directory = directory_of(row, root)
    path = "/" + quote(str(directory.relative_to(root)))
    for _ in range(_WARM):
        get(address, f"{path}/old.txt")
    response = _send(row, address)
    errors = _errors_of(row, response)
    expected = expected_tree(row)
    found = tree_of(directory)
    if found != expected:
        changed = {
            name: found.get(name, "gone")
            for name in found.keys() | expected.keys()
            if found.get(name, "gone") != expected.get(name, "gone")
        }
        errors.append(f"on the disk: {changed}")
    # The next response has the new bytes, or the old ones where nothing has changed.
    after = get(address, f"{path}/old.txt")
    if (content := expected.get("old.txt")) is None:
        errors += [] if after.status == 404 else [f"still there: {after.status}"]
    elif after.body != content:
        errors.append(f"GET finds {after.body!r}, not {content!r}")
    return [f"{row.name}: {error}" for error in errors]


def get(address: Address, target: str, *lines: str) -> Response:
    """Return the response to GET."""
    head = "\r\n".join((f"GET {target} HTTP/1.1", "Host: test", "Connection: close", *lines))
    response = exchange(address, f"{head}\r\n\r\n".encode(), "GET")
    assert response
    return response


def exchange(address: Address, data: bytes, method: str, late: bytes = b"") -> Response | None:
    """Send data, and late after 100 (Continue); return the response."""
    with socket.create_connection(address, TIMEOUT) as client:
        client.sendall(data)
        reader = Reader(lambda: _receive(client))
        return reader.read_response(method, lambda: client.sendall(late))


def _receive(client: socket.socket) -> bytes:
    try:
        return client.recv(1 << 16)
    except ConnectionResetError:
        return b""


def _send(row: Row, address: Address) -> Response | None:
    # A target is /{d}/... or {d}/...: both are at the row's path.
    head = row.head.replace("/{d}", "{d}").replace("{d}", f"/{row.name}")
    tag_of = lambda match: get(address, match["target"]).get("etag") or ""  # noqa: E731
    head = _TAG.sub(tag_of, head)
    data = f"{head}\r\nHost: test\r\n\r\n".encode()
    method = head.partition(" ")[0]
    if row.continues:
        return exchange(address, data, method, row.body)
    with socket.create_connection(address, TIMEOUT) as client:
        with suppress(ConnectionError):  # it may answer before it has read all
            client.sendall(data + row.body)
            if row.status == 400 and row.name == "put-short-body":
                client.shutdown(socket.SHUT_WR)
        return Reader(lambda: _receive(client)).read_response(method)


def _errors_of(row: Row, response: Response | None) -> list[str]:
    if response is None:
        return ["no response"]
    has_allow = response.status != 405 or response.get("allow") is not None
    checks = {
        f"status {response.status}: {response.body!r}": response.status == row.status,
        f"interim responses {response.interim}": (response.interim == (100,)) is row.continues,
        f"Connection: {response.get('connection')}": _closes(response) is row.closes,
        "405 without Allow": has_allow,  # RFC 9110 section 15.5.6: it MUST have it
    }
    headers = dict(row.headers)
    if row.content_type:
        headers["content-type"] = row.content_type
    for name, check in headers.items():
        checks[f"{name}: {response.get(name)}"] = _holds(check, response.get(name))
    return [error for error, holds in checks.items() if not holds]


def _closes(response: Response) -> bool:
    return response.get("connection") == "close"


def _holds(check: HeaderCheck, value: str | None) -> bool:
    if check is None or value is None:
        return check is value
    return check == value if isinstance(check, str) else check(value)
