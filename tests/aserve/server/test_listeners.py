"""Where the server listens: at every address that its host has, on one port."""

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

WHY_NOT = {name: why for name, row in MODELS.items() if (why := row.unavailable_reason())}
LOOPBACKS = ("127.0.0.1", "::1")


def has_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="needs IPv6 on this machine")


@pytest.fixture(params=MODELS)
def model(request):
    if why := WHY_NOT.get(request.param):
        pytest.skip_head(why)
    return request.param


def body(host, port):
    with closing(http.client.HTTPConnection(host, port, timeout=10)) as connection:
        connection.request("GET", "/a.txt")
        return connection.getresponse().read()


@contextmanager
def opened(settings):
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
def test_by_default_both_loopback_addresses_have_the_port(folder, workers, options):
    with opened(Settings(folder, port=0, workers=workers, **options)) as groups:
        port = groups[0][0].getsockname()[1]
        assert addresses(groups) == [[(host, port) for host in LOOPBACKS]] * workers
        assert url(groups[0][0]) == f"http://127.0.0.1:{port}/"


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "127.0.0.2"])
def test_an_address_is_one_address(folder, host):
    with opened(Settings(folder, host, 0)) as groups:
        assert [len(group) for group in groups] == [1]


@needs_ipv6
def test_the_wildcard_of_ipv6_lets_ipv4_in_as_well(folder):
    with aserve.Server(folder, host="::") as server:
        port = int(server.url.rsplit(":", 1)[1].rstrip("/"))
        assert [body(host, port) for host in LOOPBACKS] == [b"alpha"] * 2


@needs_ipv6
def test_every_model_serves_both(folder, model):
    with aserve.Server(folder, model=model) as server:
        port = int(server.url.rsplit(":", 1)[1].rstrip("/"))
        for _ in range(3):
            assert [body(host, port) for host in LOOPBACKS] == [b"alpha"] * 2
    for host in LOOPBACKS:
        with pytest.raises(ConnectionRefusedError):
            body(host, port)


@needs_ipv6
@pytest.mark.parametrize("name", ["simulated-proactor", "epoll"])
@pytest.mark.parametrize("workers", [1, 2])
def test_the_program_serves_both_and_stops(folder, name, workers):
    options = ("--port", 0, "--model", name, "--workers", workers)
    with cli.aserve(folder, *options) as process:
        port = int(cli.url_in(cli.banner(process)).rsplit(":", 1)[1].rstrip("/"))
        for _ in range(5):
            assert [body(host, port) for host in LOOPBACKS] == [b"alpha"] * 2
        assert cli.stop(process, signal.SIGTERM) == (0, "")


class Machine:
    """The sockets of a machine that lacks an address family, or a right, or has a port taken."""

    def __init__(self, monkeypatch, where, errors):
        self._true = socket.socket
        self._where, self._errors = where, list(errors)
        monkeypatch.setattr(listeners.socket, "socket", self._make)

    def _make(self, family=socket.AF_INET, *others):
        if family == self._where and self._errors and (error := self._errors.pop(0)):
            raise OSError(error, os.strerror(error))
        return self._true(family, *others)


@pytest.mark.parametrize("error", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
@pytest.mark.parametrize("workers", [1, 2])
def test_where_there_is_no_ipv6_the_other_address_is_enough(folder, monkeypatch, error, workers):
    Machine(monkeypatch, socket.AF_INET6, [error] * 9)
    with opened(Settings(folder, port=0, workers=workers)) as groups:
        assert [[one.family for one in group] for group in groups] == [[socket.AF_INET]] * workers


@needs_ipv6
def test_where_there_is_no_ipv4_the_other_address_is_enough(folder, monkeypatch):
    Machine(monkeypatch, socket.AF_INET, [errno.EAFNOSUPPORT] * 9)
    with opened(Settings(folder, port=0)) as groups:
        assert url(groups[0][0]).startswith("http://[::1]:")


@needs_ipv6
def test_any_free_port_is_one_that_is_free_at_both(folder, monkeypatch):
    Machine(monkeypatch, socket.AF_INET6, [errno.EADDRINUSE] * 3)
    with opened(Settings(folder, port=0)) as ((first, second),):
        assert first.getsockname()[1] == second.getsockname()[1]


@needs_ipv6
def test_a_port_that_is_taken_at_one_address_is_taken(folder):
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=f"^{port} is taken on ::1$") as refused:
            listen(Settings(folder, port=port))
        assert refused.value.option == "port"
        with opened(Settings(folder, "127.0.0.1", port)):
            pass


@pytest.mark.parametrize("error", [errno.EACCES, errno.EPERM])
def test_a_port_of_a_service_needs_a_right(folder, monkeypatch, error):
    Machine(monkeypatch, socket.AF_INET, [error])
    with pytest.raises(ListenError, match=r"80.*above 1023") as refused:
        listen(Settings(folder, port=80))
    assert refused.value.option == "port"


@needs_ipv6
def test_a_link_local_address_needs_its_interface(folder):
    with pytest.raises(ListenError, match="fe80::1%") as refused:
        listen(Settings(folder, "fe80::1", 0))
    assert refused.value.option == "host"


def test_the_interface_of_an_address_is_in_its_url():
    class Local:
        def getsockname(self):
            return "fe80::1%eth0", 8_000, 0, 2

    # RFC 6874 section 2: the percent sign in front of it is encoded.
    assert url(Local()) == "http://[fe80::1%25eth0]:8000/"
