"""Policies and the response cache: no client is ever answered with what another one may see.

Every policy is asked cold and warm, by two clients, one after the other on connections of their
own, and each answer must be the one that the policy gives without a cache. Some policies here exist
for the tests alone: they show that the seam holds what later policies need.
"""

import asyncio
import base64
import os
import re
import socket
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest

from aserve.cache.keys import NO_FACTS, ConnectionFacts, KeyBuilder, KeyedOn
from aserve.cache.response_cache import ResponseCache
from aserve.filesystem.directory import Directory
from aserve.filesystem.writing.digest_cache import DigestCache
from aserve.handlers.handler import RequestContext
from aserve.handlers.methods import MethodDispatcher, method_table
from aserve.handlers.static_files import StaticFiles
from aserve.handlers.writing.areas import WriteArea, WriteAreas
from aserve.http.header_changes import HeaderChange
from aserve.http.messages import HttpError, Request
from aserve.http.origins import Origins
from aserve.http1.limits import Limits
from aserve.policies.cors import AnyOrigin, ListedOrigins
from aserve.policies.cross_origin import CrossOrigin
from aserve.policies.current_rules import CurrentRules
from aserve.policies.encoded_pages import EncodedPages
from aserve.policies.header_file import HeaderFile
from aserve.policies.header_rules import HeaderRule, HeaderRules, SiteHeaders, find_by_globs
from aserve.policies.https import HttpsOnly, StrictTransportSecurity
from aserve.policies.live_reload import LiveReload
from aserve.policies.live_updates import LiveUpdates
from aserve.policies.policy import Policy
from aserve.policies.repr_digest import ReprDigest
from aserve.policies.server_header import ServerHeader
from aserve.policies.site import Site
from aserve.policies.uploaded_pages import UploadedPages
from aserve.rules.dialects import CLOUDFLARE, DIALECTS
from aserve.rules.site_rules import SiteRules
from aserve.transport.eventloop.server import EventLoopServer
from aserve.transport.eventloop.thread_pool import PoolSize

ONE, OTHER = "127.0.0.1", "127.0.0.2"
EXPOSED = ("Access-Control-Expose-Headers", "ETag")
TRIES = 5  # the third and later ones come from the cache


class Guarded(Policy):
    """Lets a request pass if it is permitted."""

    def __init__(self, is_permitted, keyed_on, status=403, headers=()):
        self.is_permitted, self.keyed_on = is_permitted, keyed_on
        self.error = status, "You may not.", headers

    def wrap(self, handler):
        self.inner = handler
        return self

    def handle(self, request, context):
        if not self.is_permitted(request, context):
            raise HttpError(*self.error)
        return self.inner.handle(request, context)


class VirtualHosts(Policy):
    """Serves a directory for each host."""

    keyed_on = KeyedOn(headers=frozenset({"host"}))

    def __init__(self, directories):
        self.sites = {
            host: MethodDispatcher(method_table(StaticFiles(Directory(directory))))
            for host, directory in directories.items()
        }

    def wrap(self, handler):
        self.default = handler
        return self

    def handle(self, request, context):
        host = request.headers.get("host", "")
        return self.sites.get(host, self.default).handle(request, context)


class Greeting(Policy):
    """Adds a header that follows from one of the request, and counts how often it is asked."""

    def __init__(self, name, keyed_on):
        self.name, self.keyed_on, self.count = name, keyed_on, 0

    def finish(self, request, context, response):
        self.count += 1
        value = request.header(self.name) or "unknown"
        return response.with_headers((*response.headers, ("X-Greeting", value)))


class FixedRules:
    """Rules that do not change."""

    is_confirmed = True

    def __init__(self, headers="", redirects="", dialect=CLOUDFLARE):
        self.latest = SiteRules(headers, redirects, DIALECTS[dialect])

    def current(self, now, *, wait):
        return self.latest

    def bind(self, response):
        return response


HOST_HEADERS = "/*\n X-Rule: any\nhttps://b.test/*\n X-Rule: b\n"


class Ask(NamedTuple):
    """What a client asks for, and what it must get: a status, and bytes that are in the answer."""

    status: int
    contains: bytes = b""
    client: str = ONE
    headers: str = ""
    target: str = "/a.txt"


def basic(request, _context):
    expected = "Basic " + base64.b64encode(b"me:secret").decode()
    return request.header("authorization") == expected


AUTHORIZATION = KeyedOn(headers=frozenset({"authorization"}))
CHALLENGE = (("WWW-Authenticate", 'Basic realm="x"'),)
RIGHT = "Authorization: Basic " + base64.b64encode(b"me:secret").decode() + "\r\n"
WRONG = "Authorization: Basic " + base64.b64encode(b"me:guess").decode() + "\r\n"
FETCHED = "Sec-Fetch-Dest: empty\r\n"
GZIP = "Accept: text/html\r\nAccept-Encoding: gzip\r\n"
NAVIGATED = "Sec-Fetch-Mode: navigate\r\nAccept: text/html\r\n"  # by a service worker, with FETCHED


def cases(directory):
    """Return every policy with what must be asked of it."""
    others = directory.parent / "others"
    others.mkdir()
    (others / "a.txt").write_text("another alpha")
    os.utime(others / "a.txt", (1, 1))
    return {
        "server": (
            ServerHeader(),
            [
                Ask(200, b"\r\nServer: aserve\r\n"),
                Ask(404, b"\r\nServer: aserve\r\n", target="/no"),
            ],
        ),
        "encoded-pages": (
            EncodedPages(),
            [
                Ask(404, b"\r\nContent-Encoding: gzip\r\n", headers=GZIP, target="/no"),
                Ask(404, b"</html>", headers="Accept: text/html\r\n", target="/no"),
            ],
        ),
        "site-headers": (
            SiteHeaders([HeaderChange(set=(("X-A", "1"),))]),
            [Ask(200, b"\r\nX-A: 1\r\n"), Ask(404, b"\r\nX-A: 1\r\n", OTHER, target="/no")],
        ),
        "header-rules": (
            HeaderRules([find_by_globs([HeaderRule("*.txt", HeaderChange(set=(("X-A", "1"),)))])]),
            [
                *[Ask(200, b"\r\nX-A: 1\r\n"), Ask(404, b"\r\nX-A: 1\r\n", target="/no.txt")],
                *[
                    Ask(200, b"no-cache\r\nContent-Length: 13\r\n", target="/"),
                    Ask(200, b"X-A", OTHER),
                ],
            ],
        ),
        "any-origin": (
            AnyOrigin(EXPOSED),
            [
                *[Ask(200, b"\r\nAccess-Control-Allow-Origin: *\r\n")],
                *[Ask(404, b"-Origin: *\r\n", OTHER, "Origin: http://other.test\r\n", "/no")],
            ],
        ),
        "listed-origins": (
            ListedOrigins(Origins(["http://a.test", "http://b.test"]), EXPOSED),
            [
                *[Ask(200, b"\r\nVary: Origin\r\n")],
                *[Ask(200, b"-Origin: http://a.test\r\n", headers="Origin: http://a.test\r\n")],
                *[Ask(200, b"-Origin: http://b.test\r\n", headers="Origin: http://b.test\r\n")],
                *[Ask(200, b"no-cache\r\nVary: Origin\r\n", OTHER, "Origin: http://c.test\r\n")],
            ],
        ),
        "basic": (
            Guarded(basic, AUTHORIZATION, 401, CHALLENGE),
            [
                *[Ask(200, b"alpha", headers=RIGHT), Ask(401, b"WWW-Authenticate: Basic")],
                *[Ask(401, headers=WRONG), Ask(401, client=OTHER)],
                *[Ask(200, b"alpha", OTHER, RIGHT), Ask(401, target="/no")],
            ],
        ),
        "client": (
            Guarded(lambda _, context: context.client == ONE, KeyedOn(client=True)),
            [Ask(200, b"alpha"), Ask(403, client=OTHER), Ask(403, client=OTHER, target="/no")],
        ),
        "hosts": (
            VirtualHosts({"others.test": others}),
            [
                *[Ask(200, b"\r\n\r\nalpha", headers="Host: x\r\n")],
                *[Ask(200, b"another alpha", headers="Host: others.test\r\n")],
                *[Ask(200, b"another alpha", OTHER, "Host: others.test\r\n")],
            ],
        ),
        "live": (
            LiveReload(LiveUpdates(), open_stream=None),
            [
                *[Ask(200, b"<script", headers="Sec-Fetch-Dest: document\r\n", target="/")],
                *[Ask(200, b"Content-Length: 13\r\n", OTHER, FETCHED, "/")],
                *[Ask(200, b"<script", headers="Sec-Fetch-Dest: iframe\r\n", target="/")],
                *[Ask(200, b"<script", headers=FETCHED + NAVIGATED, target="/"), Ask(200)],
            ],
        ),
        "cross-origin": (
            CrossOrigin(),
            [Ask(200, b"alpha"), Ask(200, b"alpha", OTHER, "Origin: http://other.test\r\n")],
        ),
        "uploaded": (
            UploadedPages(WriteAreas([WriteArea((), "all")])),
            [
                *[Ask(200, b"Content-Security-Policy: sandbox\r\n", target="/")],
                *[Ask(200, b"X-Content-Type-Options: nosniff\r\n"), Ask(404, target="/no")],
            ],
        ),
        "digest": (
            ReprDigest(DigestCache()),
            [
                *[Ask(200, b"Repr-Digest: sha-256=:", headers="Want-Repr-Digest: sha-256=1\r\n")],
                *[Ask(200, b"\r\n\r\nalpha")],
                *[Ask(200, b"Repr-Digest: sha-512=:", OTHER, "Want-Repr-Digest: sha-512=1\r\n")],
            ],
        ),
        "current-rules": (
            CurrentRules(FixedRules(), lambda name: None),
            [Ask(200, b"\r\n\r\nalpha"), Ask(404, target="/no")],
        ),
        "header-file": (
            HeaderFile(FixedRules(HOST_HEADERS)),
            [
                *[Ask(200, b"\r\nX-Rule: any\r\n"), Ask(404, b"\r\nX-Rule: any\r\n", target="/no")],
                *[Ask(200, b"\r\nX-Rule: any, b\r\n", OTHER, "Host: B.test:80\r\n")],
                *[Ask(200, b"\r\nX-Rule: any\r\n", OTHER, "Host: c.test\r\n")],
            ],
        ),
        "cookie": (
            Greeting("cookie", KeyedOn(headers=frozenset({"cookie"}))),
            [
                *[Ask(200, b"X-Greeting: a=1\r\n", headers="Cookie: a=1\r\n")],
                *[Ask(200, b"X-Greeting: a=2\r\n", OTHER, "Cookie: a=2\r\n")],
                *[Ask(200, b"X-Greeting: unknown\r\n"), Ask(404, b"unknown", target="/no")],
            ],
        ),
        "forwarded": (
            Greeting("x-forwarded-for", KeyedOn(headers=frozenset({"x-forwarded-for"}))),
            [
                *[Ask(200, b"X-Greeting: ::1\r\n", headers="X-Forwarded-For: ::1\r\n")],
                *[Ask(200, b"X-Greeting: ::2\r\n", headers="X-Forwarded-For: ::2\r\n")],
            ],
        ),
        "anything": (
            Greeting("x-odd", KeyedOn(everything=True)),
            [
                *[Ask(200, b"X-Greeting: 1\r\n", headers="X-Odd: 1\r\n")],
                *[Ask(200, b"X-Greeting: 2\r\n", headers="X-Odd: 2\r\n")],
            ],
        ),
    }


NAMES = [
    *("server", "live", "cross-origin", "uploaded", "digest", "site-headers", "header-rules"),
    *("any-origin", "listed-origins", "header-file"),
    *("basic", "client", "hosts", "cookie", "forwarded", "anything"),
]


@asynccontextmanager
async def serving(directory, policy, cache):
    """Serve a directory with a policy; the value is the address."""
    site = Site.of_files(Directory(directory), [policy])
    cache = ResponseCache(keyed_on=site.keyed_on) if cache else None
    server = EventLoopServer(site, Limits(), PoolSize(1, 8), None, cache)
    listener = socket.create_server((ONE, 0))
    await server.start([listener])
    try:
        yield listener.getsockname(), server
    finally:
        await server.stop(0)


async def answer(address, ask):
    """Return the answer to a question, its date left out."""
    reader, writer = await asyncio.open_connection(*address, local_addr=(ask.client, 0))
    host = "" if "Host:" in ask.headers else "Host: x\r\n"
    writer.write(
        f"GET {ask.target} HTTP/1.1\r\n{host}{ask.headers}Connection: close\r\n\r\n".encode()
    )
    data = await reader.read()
    writer.close()
    await writer.wait_closed()
    return re.sub(rb"\r\nDate: [^\r]*", b"", data)


async def until_cached(pool):
    """Wait until no thread is about to cache a response. Results come back through the loop."""
    while pool._free_slots < pool._size.threads + pool._size.queue:  # noqa: ASYNC110 - no event
        await asyncio.sleep(0)


async def wrong_answers(directory, policy, asks):
    """Return the questions that were answered wrongly, cold or warm, and how many are cached."""
    async with serving(directory, policy, cache=False) as (address, _):
        right = [await answer(address, ask) for ask in asks]
    for ask, data in zip(asks, right, strict=True):
        assert data.startswith(b"HTTP/1.1 %d " % ask.status)
        assert ask.contains in data
    async with serving(directory, policy, cache=True) as (address, server):
        wrong = []
        for _ in range(TRIES):
            for ask, data in zip(asks, right, strict=True):
                if await answer(address, ask) != data:
                    wrong.append(ask)
                await until_cached(server.thread_pool)
        return wrong, len(server.cache._by_key) if server.cache else 0


@pytest.mark.parametrize("name", NAMES)
async def test_a_policy_decides_cold_and_warm_and_for_each_client(directory, name):
    policy, asks = cases(directory)[name]
    wrong, cached = await wrong_answers(directory, policy, asks)
    assert wrong == []
    assert (cached == 0) == policy.keyed_on.everything  # or nothing was asked warm


BY_TLS = {HttpsOnly, StrictTransportSecurity}
"""Policies that tests/aserve/tls/test_serving.py asks, by http and by https."""


async def test_every_policy_of_the_program_is_asked(directory):
    ours = {each for each in Policy.__subclasses__() if each.__module__.startswith("aserve.")}
    assert ours - BY_TLS <= {type(policy) for policy, _ in cases(directory).values()}


async def test_a_policy_sees_nothing_of_the_connection_that_it_has_not_declared(directory):
    seen = []

    def permitted(_request, context):
        seen.append((context.client, context.scheme, context.server_name))
        return True

    async with serving(directory, Guarded(permitted, KeyedOn()), cache=True) as (address, _):
        await answer(address, Ask(200))
    assert set(seen) == {("-", "http", "")}


@pytest.mark.parametrize(
    "name", ["live", "cookie", "basic", "hosts", "forwarded", "listed-origins"]
)
async def test_a_policy_that_declares_too_little_is_found(directory, name):
    policy, asks = cases(directory)[name]
    policy.keyed_on = KeyedOn()
    wrong, _ = await wrong_answers(directory, policy, asks)
    assert wrong


async def test_a_changed_file_of_a_virtual_host_is_seen_at_once(directory):
    policy, (_, ask, _) = cases(directory)["hosts"]
    async with serving(directory, policy, cache=True) as (address, _):
        for _ in range(TRIES):
            assert b"another alpha" in await answer(address, ask)
        (directory.parent / "others" / "a.txt").write_text("changed")
        assert b"changed" in await answer(address, ask)


def test_a_policy_is_asked_again_only_if_nothing_is_cached_for_it(directory):
    """Policies are composed once, and their finish is called for every response that is made."""
    greeting = Greeting("x", KeyedOn())
    site = Site.of_files(Directory(directory), [ServerHeader(), greeting])
    for target, status in [("/a.txt", 200), ("/no", 404), ("/sub", 301)]:
        response = site.handle(Request("GET", target), RequestContext(0))
        assert response.status == status
        assert response.headers[0] == ("Server", "aserve")
        assert response.headers[-1] == ("X-Greeting", "unknown")
    rejected = Request("", "", error=HttpError(400, "Malformed."))
    assert site.handle(rejected, RequestContext(0)).headers[-1] == ("X-Greeting", "unknown")
    assert greeting.count == 4


def test_an_invalid_request_never_reaches_a_policy_that_grants_access(directory):
    def never(_request, _context):
        raise AssertionError

    site = Site.of_files(Directory(directory), [Guarded(never, KeyedOn())])
    rejected = Request("GET", "/", error=HttpError(400, "Malformed."))
    assert site.handle(rejected, RequestContext(0)).status == 400


def test_policies_are_asked_from_the_outermost_inwards(directory):
    order = []

    def noting(name):
        return Guarded(lambda *_: order.append(name) or True, KeyedOn())

    site = Site.of_files(Directory(directory), [noting("outer"), noting("inner")])
    site.handle(Request("GET", "/a.txt"), RequestContext(0))
    assert order == ["outer", "inner"]


@pytest.mark.parametrize(
    ("keyed_on", "same"),
    [
        (KeyedOn(), True),
        (KeyedOn(client=True), False),
        (KeyedOn(scheme=True), False),
        (KeyedOn(server_name=True), False),
    ],
)
def test_connections_share_responses_only_if_no_policy_tells_them_apart(keyed_on, same):
    one = keyed_on.visible(ConnectionFacts("1.2.3.4", "http", "a.test"))
    other = keyed_on.visible(ConnectionFacts("5.6.7.8", "https", "b.test"))
    assert (keyed_on.partition_key(one) == keyed_on.partition_key(other)) == same
    assert keyed_on.partition_key(one) == keyed_on.partition_key(ConnectionFacts(*one))


def test_only_the_declared_facts_of_a_connection_are_visible():
    facts = ConnectionFacts("1.2.3.4", "https", "a.test")
    assert KeyedOn(scheme=True).visible(facts) == ("-", "https", "")
    assert KeyedOn(client=True, server_name=True).visible(facts) == ("1.2.3.4", "http", "a.test")
    assert KeyedOn().visible(facts) == NO_FACTS
    assert KeyedOn(everything=True).visible(facts) == facts


def heads(builder, *headers):
    return {
        builder.normalize(b"".join([b"GET / HTTP/1.1\r\n", line, b"\r\n\r\n"])) for line in headers
    }


def test_names_of_declared_headers_may_be_spelled_in_any_case():
    builder = KeyBuilder(KeyedOn(headers=frozenset({"Cookie"})))
    assert len(heads(builder, b"Cookie: a=1", b"Cookie: a=2")) == 2
    assert len(heads(builder, b"X-Request-Id: 1", b"X-Request-Id: 2")) == 1


def test_a_declared_header_is_no_placeholder_for_others():
    builder = KeyBuilder(KeyedOn(headers=frozenset({"cookie"})))
    assert len(heads(builder, b"Traceparent: 1", b"Cookie:")) == 2
    names = ("cookie", "traceparent", "tracestate")
    others = ("x-request-id", "x-correlation-id", "x-forwarded-for")
    builder = KeyBuilder(KeyedOn(headers=frozenset({*names, *others})))
    assert len(heads(builder, b"Traceparent: 1", b": x", b"Cookie: 1")) == 3


def test_a_policy_that_fails_is_one_error_page_and_one_line_in_the_log(directory, caplog):
    class Failing(Policy):
        def finish(self, request, context, response):
            raise LookupError("no such thing")

    site = Site.of_files(Directory(directory), [ServerHeader(), Failing()])
    for target in ("/a.txt", "/no", "/sub"):
        response = site.handle(Request("GET", target), RequestContext(0))
        assert (response.status, response.close) == (500, True)
        assert response.headers[0] == ("Server", "aserve")
    rejected = Request("", "", error=HttpError(400, "Malformed."))
    assert site.handle(rejected, RequestContext(0)).status == 500
    assert len(caplog.messages) == 4
    assert "LookupError('no such thing')" in caplog.messages[0]


def test_a_handler_with_an_unknown_status_is_an_internal_error(directory):
    def unknown(_request, _context):
        raise HttpError(499, "Client closed request.")

    site = Site.of_files(Directory(directory), [Guarded(unknown, KeyedOn())])
    assert site.handle(Request("GET", "/"), RequestContext(0)).status == 500


def test_a_site_is_keyed_on_what_all_its_policies_declare():
    union = KeyedOn.union(
        [KeyedOn(headers=frozenset({"a"})), KeyedOn(client=True, headers=frozenset({"b"}))]
    )
    assert union == KeyedOn(frozenset({"a", "b"}), client=True)
    assert KeyedOn.union([]) == KeyedOn()
    assert KeyedOn.union([union, KeyedOn(everything=True)]).everything
