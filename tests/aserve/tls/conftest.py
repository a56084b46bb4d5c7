"""Servers that speak TLS, with certificates of one authority."""

import pytest

import aserve
from tests.aserve.tls.issuing import client_context, issue


@pytest.fixture
def certificates(tmp_path):
    """A directory for certificates, which is not served."""
    directory = tmp_path / "certificates"
    directory.mkdir()
    return directory


@pytest.fixture
def pair(certificates):
    """A certificate for localhost, and its key."""
    return issue(certificates, "first")


@pytest.fixture
def trusting():
    """The context of a client that trusts the authority."""
    return client_context()


@pytest.fixture
def start(directory, pair):
    """Start servers with TLS; return each with its address."""
    servers = []

    def start_server(**settings):
        files = {"cert": (pair.cert,), "key": (pair.key,)}
        server = aserve.Server(directory, **{"host": "127.0.0.1", **files, **settings})
        server.start()
        servers.append(server)
        port = server.url.rpartition(":")[2].strip("/")
        return server, ("127.0.0.1", int(port) if port.isdecimal() else 0)

    yield start_server
    for server in servers:
        server.stop()
