"""Listening sockets: on every address of the host name, on one port."""

import errno
import http.client
import os
import signal
import socket
from contextlib import closing, contextmanager

import pytest

import aserve
from aserve.config.settings import Settings
from aserve.server import listeners
from aserve.server.listeners import ListenError, listen, url
from aserve.transport.registry import MODELS
from tests.aserve import test_cli as cli

UNAVAILABLE = {
    name: reason for name, info in MODELS.items() if (reason := info.unavailable_reason())
}
LOOPBACKS = ("127.0.0.1", "::1")


def has_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="needs IPv6 on this machine")


@pytest.fixture(params=[name for name, info in MODELS.items() if not info.needs_processes])
def model(request):
    if reason := UNAVAILABLE.get(request.param):
        pytest.skip(reason)
    return request.param


def fetch(host, port):
    with closing(http.client.HTTPConnection(host, port, timeout=60)) as connection:
        connection.request("GET", "/a.txt")
        return connection.getresponse().read()


@contextmanager
def listening(settings):
    groups = listen(settings)
    try:
        yield groups
    finally:
        for group in groups:
            for listener in group:
                listener.close()


def addresses(groups):
    return [[listener.getsockname()[:2] for listener in group] for group in groups]


@needs_ipv6
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("options", [{}, {"host": "localhost"}, {"host": "LocalHost."}], ids=str)
def test_the_default_is_one_port_on_both_loopback_addresses(directory, workers, options):
    with listening(Settings(directory, port=0, workers=workers, **options)) as groups:
        port = groups[0][0].getsockname()[1]
        assert addresses(groups) == [[(host, port) for host in LOOPBACKS]] * workers
        assert url(groups[0][0]) == f"http://127.0.0.1:{port}/"


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "127.0.0.2"])
def test_an_address_has_one_listener(directory, host):
    with listening(Settings(directory, host, 0)) as groups:
        assert [len(group) for group in groups] == [1]


@needs_ipv6
def test_the_ipv6_wildcard_accepts_ipv4(directory):
    with aserve.Server(directory, host="::") as server:
        port = int(server.url.rsplit(":", 1)[1].rstrip("/"))
        assert [fetch(host, port) for host in LOOPBACKS] == [b"alpha"] * 2


@needs_ipv6
@pytest.mark.parametrize("workers", [1, 3])
def test_a_star_is_all_addresses_of_each_family(directory, workers):
    with listening(Settings(directory, "*", 0, workers=workers)) as groups:
        port = groups[0][0].getsockname()[1]
        assert addresses(groups) == [[("0.0.0.0", port), ("::", port)]] * workers
        for _, ipv6 in groups:
            assert ipv6.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


def test_a_star_without_ipv6_is_all_addresses_of_ipv4(directory, monkeypatch):
    FailingSockets(monkeypatch, socket.AF_INET6, [errno.EAFNOSUPPORT] * 9)
    with listening(Settings(directory, "*", 0)) as groups:
        assert [[one.getsockname()[0] for one in group] for group in groups] == [["0.0.0.0"]]


@needs_ipv6
def test_every_model_serves_both_addresses(directory, model):
    with aserve.Server(directory, model=model) as server:
        port = int(server.url.rsplit(":", 1)[1].rstrip("/"))
        for _ in range(3):
            assert [fetch(host, port) for host in LOOPBACKS] == [b"alpha"] * 2
    for host in LOOPBACKS:
        with pytest.raises(ConnectionRefusedError):
            fetch(host, port)


@needs_ipv6
@pytest.mark.parametrize("name", ["simulated-proactor", "epoll"])
@pytest.mark.parametrize("workers", [1, 2])
def test_the_program_serves_both_addresses_and_stops(directory, name, workers):
    options = ("--port", 0, "--model", name, "--workers", workers)
    with cli.aserve(directory, *options) as process:
        port = int(cli.url_in(cli.banner(process)).rsplit(":", 1)[1].rstrip("/"))
        for _ in range(5):
            assert [fetch(host, port) for host in LOOPBACKS] == [b"alpha"] * 2
        assert cli.stop(process, signal.SIGTERM) == (0, "")


class FailingSockets:
    """Replaces socket.socket: the first sockets of one address family fail with these errors."""

    def __init__(self, monkeypatch, failing_family, errors):
        self._socket = socket.socket
        self._failing_family, self._errors = failing_family, list(errors)
        monkeypatch.setattr(listeners.socket, "socket", self._create)

    def _create(self, family=socket.AF_INET, *arguments):
        if family == self._failing_family and self._errors and (error := self._errors.pop(0)):
            raise OSError(error, os.strerror(error))
        return self._socket(family, *arguments)


@pytest.mark.parametrize("error", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
@pytest.mark.parametrize("workers", [1, 2])
def test_without_ipv6_it_listens_on_ipv4(directory, monkeypatch, error, workers):
    FailingSockets(monkeypatch, socket.AF_INET6, [error] * 9)
    with listening(Settings(directory, port=0, workers=workers)) as groups:
        assert [[listener.family for listener in group] for group in groups] == [
            [socket.AF_INET]
        ] * workers


@needs_ipv6
def test_without_ipv4_it_listens_on_ipv6(directory, monkeypatch):
    FailingSockets(monkeypatch, socket.AF_INET, [errno.EAFNOSUPPORT] * 9)
    with listening(Settings(directory, port=0)) as groups:
        assert url(groups[0][0]).startswith("http://[::1]:")


@needs_ipv6
def test_port_0_is_a_port_that_is_free_on_both_addresses(directory, monkeypatch):
    FailingSockets(monkeypatch, socket.AF_INET6, [errno.EADDRINUSE] * 3)
    with listening(Settings(directory, port=0)) as ((first, second),):
        assert first.getsockname()[1] == second.getsockname()[1]


@needs_ipv6
def test_a_port_that_is_taken_on_one_address_is_taken(directory):
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=f"^port: {port} is taken on ::1$") as exc_info:
            listen(Settings(directory, port=port))
        assert exc_info.value.setting == "port"
        with listening(Settings(directory, "127.0.0.1", port)):
            pass


@pytest.mark.parametrize("error", [errno.EACCES, errno.EPERM])
def test_a_privileged_port_needs_permission(directory, monkeypatch, error):
    FailingSockets(monkeypatch, socket.AF_INET, [error])
    with pytest.raises(ListenError, match=r"80.*above 1023") as exc_info:
        listen(Settings(directory, port=80))
    assert exc_info.value.setting == "port"


@needs_ipv6
def test_a_link_local_address_needs_its_interface(directory):
    with pytest.raises(ListenError, match="fe80::1%") as exc_info:
        listen(Settings(directory, "fe80::1", 0))
    assert exc_info.value.setting == "host"


def test_the_url_has_the_interface_of_a_link_local_address():
    class LinkLocalListener:
        family = socket.AF_INET6

        def getsockname(self):
            return "fe80::1%eth0", 8_000, 0, 2

    # RFC 6874 section 2: the percent sign before the interface is percent-encoded.
    assert url(LinkLocalListener()) == "http://[fe80::1%25eth0]:8000/"
