"""TRACE: what is echoed, and for which targets."""

from pathlib import Path

import pytest

from aserve.filesystem.directory import Directory
from aserve.handlers.handler import RequestContext
from aserve.http1.connection import H1Connection
from aserve.http1.limits import Limits
from aserve.policies.site import Site


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/nothing/here", 200),
        ("http://test/", 200),
        # RFC 9110 section 4.2.4: user information in an http URL is an error, and may be a secret.
        ("http://user:secret@test/", 400),
        ("http://[.]/", 400),
        ("http://[1.2.3.4]/", 400),
        ("https://test/", 421),
        ("*", 400),  # RFC 9112 section 3.2.4: only for OPTIONS
        ("/%zz", 400),
        ("/{", 301),
    ],
)
def test_trace_rejects_the_targets_that_get_rejects(
    target: str, status: int, tmp_path: Path
) -> None:
    site = Site.of_files(Directory(tmp_path), allow_trace=True)
    connection = H1Connection(Limits())
    connection.receive(f"TRACE {target} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
    request = connection.next_request()
    assert request
    response = site.handle(request, RequestContext(0))
    assert response.status == status
    assert not any(isinstance(part, bytes) and b"secret" in part for part in response.body)
