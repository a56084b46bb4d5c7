"""Sessions are resumed by tickets (RFC 8446 section 2.2): by every worker, and after a reload."""

import re
import socket
import ssl
from pathlib import Path

import pytest

from tests.aserve import programs
from tests.aserve.tls.issuing import issue
from tests.aserve.tls.test_serving import MODELS, TIMEOUT
from tests.marks import slow

REQUEST = b"GET /a.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def session_of(address, context, session=None):
    """Ask for a file; return the session, and whether that was a resumed one."""
    with (
        socket.create_connection(address, TIMEOUT) as raw,
        context.wrap_socket(raw, server_hostname="localhost", session=session) as client,
    ):
        client.sendall(REQUEST)
        received = b"".join(iter(lambda: client.recv(65_536), b""))
        assert received.startswith(b"HTTP/1.1 200 ")
        return client.session, client.session_reused


@MODELS
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2])
def test_a_session_survives_reloads_and_renewed_certificates(start, trusting, pair, model, version):
    server, address = start(model=model)
    trusting.maximum_version = version
    session, is_resumed = session_of(address, trusting)
    assert not is_resumed
    assert session_of(address, trusting, session)[1]
    server.reload(index=("a.txt",))
    assert session_of(address, trusting, session)[1]
    issue(Path(pair.cert).parent, "first")
    server.reload()
    assert session_of(address, trusting, session)[1]


def test_servers_with_other_certificates_have_other_keys(start, certificates, trusting):
    """Or a client could resume with one server what it has begun with another one."""
    other = issue(certificates, "other")
    (_, first), (_, second) = start(), start(cert=(other.cert,), key=(other.key,))
    session, _ = session_of(first, trusting)
    assert not session_of(second, trusting, session)[1]


@pytest.mark.parametrize("workers", [slow(2)])
def test_every_worker_resumes_what_another_one_has_begun(directory, pair, trusting, workers):
    """The kernel chooses the worker: that 16 clients get the same one is unlikely."""
    options = f"--workers={workers}", "--port=0", "--host=127.0.0.1"
    program = programs.start(directory, *options, "--cert", pair.cert, "--key", pair.key)
    try:
        banner = [program.stderr.readline() for _ in range(4)]
        address = "127.0.0.1", int(re.search(r":(\d+)/", banner[1])[1])
        session, _ = session_of(address, trusting)
        assert all(session_of(address, trusting, session)[1] for _ in range(16))
        program.terminate()
        assert program.wait(TIMEOUT) == 0
    finally:
        program.close()
