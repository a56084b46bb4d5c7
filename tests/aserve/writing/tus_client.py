"""A client of tus by sockets alone."""

from collections.abc import Mapping

from tests.aserve.writing.exchange import exchange
from tests.aserve.writing.tus_rows import BODY, VERSION, named
from tests.conformance.client import Address
from tests.conformance.reader import Response


def head_of(method: str, target: str, headers: Mapping[str, str], size: int | None) -> bytes:
    """Return the head of a request. size: of its body, None for no Content-Length."""
    lines = [f"{method} {target} HTTP/1.1", "Host: test"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if size is not None and "Transfer-Encoding" not in headers:
        lines.append(f"Content-Length: {size}")
    return "\r\n".join((*lines, "", "")).encode("latin-1")


def send(
    address: Address,
    method: str,
    target: str,
    headers: Mapping[str, str] = VERSION,
    body: bytes | None = None,
) -> Response:
    """Send a request; return its response."""
    size = None if body is None else len(body)
    response = exchange(address, head_of(method, target, headers, size) + (body or b""), method)
    assert response
    return response


def create(address: Address, folder: str, name: str, size: int, body: bytes = b"") -> str:
    """Begin an upload; return where it is."""
    headers = {**VERSION, **named(name, size), **(BODY if body else {})}
    response = send(address, "POST", folder, headers, body)
    assert response.status == 201, response
    location = response.get("location")
    assert location
    return location


def add(address: Address, upload: str, offset: int, body: bytes, **headers: str) -> Response:
    """Add bytes to an upload."""
    sent = {**VERSION, **BODY, "Upload-Offset": str(offset), **headers}
    return send(address, "PATCH", upload, sent, body)


def offset_of(address: Address, upload: str) -> int | None:
    """Return how much of an upload is there; None where there is none."""
    response = send(address, "HEAD", upload)
    if response.status == 404:
        return None
    assert response.status == 200, response
    return int(response.get("upload-offset") or "")
