"""Clients that are not served get nothing, whatever they ask for."""

import os
import socket
from pathlib import Path

import pytest

from aserve.cache.response_cache import ResponseCache
from aserve.config.settings import Settings, SettingsError
from aserve.filesystem.mounts import Mounts
from aserve.handlers.handler import Note, RequestContext
from aserve.http.messages import HttpError, Request
from aserve.http1.limits import Limits
from aserve.server.site_factory import build_site
from aserve.transport.eventloop.server import EventLoopServer
from aserve.transport.eventloop.thread_pool import PoolSize
from tests.aserve.policies.test_access import ask, body_of, login, site_of
from tests.aserve.policies.test_policies import Ask, answer, until_cached

SERVED, OTHER = "127.0.0.1", "127.0.0.2"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.txt", "404.html", "403.html"):
        (tmp_path / name).write_text("SECRET")
        os.utime(tmp_path / name, (1, 1))
    return tmp_path


def test_others_get_nothing_whatever_they_ask_for(folder: Path) -> None:
    site = site_of(
        folder,
        allow=(SERVED,),
        auth=("ann:a",),
        error_page=("4xx=403.html",),
        write=("/",),
        cors=("*",),
        allow_trace=True,
    )
    for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "BREW"):
        for target in ("/", "/a.txt", "/none", "//"):
            for pair in ("", "ann:a", "ann:x"):
                response = ask(site, target, pair, method, client=OTHER, accept="text/html")
                assert (response.status, response.close) == (403, True)
                assert b"SECRET" not in body_of(response)
    assert body_of(ask(site, "/a.txt", "ann:a", client=SERVED)) == b"SECRET"


def test_the_body_of_an_upload_of_others_is_not_taken(folder: Path) -> None:
    site = site_of(folder, deny=(OTHER,), write=("/",))
    request = Request("PUT", "/new", headers={"content-length": "3"})
    assert site.accept_body
    assert site.accept_body(request, RequestContext(0, False, SERVED))
    with pytest.raises(HttpError) as raised:
        site.accept_body(request, RequestContext(0, False, OTHER))
    assert raised.value.status == 403


def test_an_invalid_request_of_others_is_told_that_and_no_more(folder: Path) -> None:
    site = site_of(folder, deny=(OTHER,), error_page=("400=403.html",))
    headers = {"accept": "text/html"}
    request = Request("GET", "/", headers=headers, error=HttpError(400, "Malformed."))
    response = site.handle(request, RequestContext(0, True, OTHER))
    assert response.status == 400
    assert b"SECRET" not in body_of(response)


async def test_a_cached_response_is_sent_to_no_other_client(folder: Path) -> None:
    site = build_site(Settings(folder, deny=(OTHER,)), Mounts())
    cache = ResponseCache(keyed_on=site.keyed_on)
    server = EventLoopServer(site, Limits(), PoolSize(1, 8), None, cache)
    listener = socket.create_server((SERVED, 0))
    await server.start([listener])
    address = listener.getsockname()
    try:
        for _ in range(5):
            assert b"SECRET" in await answer(address, Ask(200))
            assert b" 403 " in await answer(address, Ask(403, client=OTHER))
            await until_cached(server.thread_pool)
        assert len(cache._by_key) == 1
    finally:
        await server.stop(0)


def test_guesses_are_counted_behind_it(folder: Path) -> None:
    site = site_of(folder, deny=(OTHER,), auth=("ann:a",))
    for number in range(10):
        ask(site, "/", f"ann:{number}", client=SERVED)
    assert site.is_barred
    assert site.is_barred(SERVED, 1)
    assert site.is_barred(OTHER, 1)
    assert not site.is_barred("127.0.0.3", 1)


def test_what_decided_is_told(folder: Path) -> None:
    notes: list[Note] = []
    site = site_of(folder, allow=("192.0.2.0/24",))
    site.handle(Request("GET", "/a.txt", headers=login("x:y")), RequestContext(0, notes=notes))
    assert notes[0] == Note("access", "not all addresses are served", "default")


def test_what_is_no_network_is_an_error(folder: Path) -> None:
    with pytest.raises(SettingsError, match="deny: must be a network such as"):
        Settings(folder, deny=("10.0.0.1/8",))
