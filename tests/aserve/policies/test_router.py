"""Routers: which site a request is for, and that a router is a site in all that it does."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.cache.keys import KeyedOn
from aserve.handlers.handler import Note, RequestContext
from aserve.http.host_names import HostTable
from aserve.http.messages import HttpError, Request, Response
from aserve.http.request_target import parse_path
from aserve.policies.policy import Policy
from aserve.policies.router import HostRouter, Misdirected, PathRouter
from aserve.policies.site import Site

CONTEXT = RequestContext(0)


class Named:
    """Answers with a name."""

    def __init__(self, name: str, **own: Any) -> None:
        self.name = name
        vars(self).update(own)

    def handle(self, request: Request, context: RequestContext) -> Response:
        return Response(200, (("X-Site", self.name),), (b"body",), 4)


class KeyedPolicy(Policy):
    def __init__(self, keyed_on: KeyedOn) -> None:
        self.keyed_on = keyed_on


class Finisher(Policy):
    def finish(self, request: Request, context: RequestContext, response: Response) -> Response:
        return response.with_headers((*response.headers, ("X-Finished", "yes")))


def of(name: str, *policies: Policy, **own: Any) -> Site:
    return Site(Named(name, **own), policies)


def by_hosts(allowed: HostTable[bool] | None = None, **sites: Site) -> HostRouter:
    known = {"a.test": of("a"), "*.b.test": of("b"), "::1": of("six")} | sites
    return HostRouter(known, of("others"), Site(Misdirected("Not here.")), allowed)


def request(host: str | None = None, target: str = "/", method: str = "GET") -> Request:
    return Request(method, target, headers={} if host is None else {"host": host})


def site_of(router: Site, asked: Request) -> str | int:
    response = router.handle(asked, CONTEXT)
    return dict(response.headers).get("X-Site", response.status)


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("a.test", "a"),
        ("A.TEST.:8000", "a"),
        ("x.y.b.test", "b"),
        ("b.test", "others"),
        ("[0:0::1]:80", "six"),
        ("nowhere.test", "others"),
        ("x" * 9_000, "others"),
        ("", "others"),
        (None, "others"),
    ],
)
def test_a_request_is_for_the_site_of_its_host(host: str | None, site: str) -> None:
    router = by_hosts()
    assert [site_of(router, request(host)) for _ in range(2)] == [site, site]


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("a.test", "a"),
        ("ok.test", "others"),
        ("x.ok.test", 421),
        ("evil.test", 421),
        ("127.0.0.1.evil.test", 421),
        ("x" * 9_000, 421),
        ("127.0.0.1:8000", "others"),
        ("[2001:db8::7]", "others"),
        ("127.1", 421),  # browsers send the address in its usual form
        (".", 421),
        ("%6f%6b.test", 421),
        (None, "others"),
    ],
)
def test_other_hosts_must_be_allowed_or_be_addresses(host: str | None, site: str | int) -> None:
    assert site_of(by_hosts(HostTable({"ok.test": True})), request(host)) == site


def test_the_host_of_a_url_decides_and_not_the_header() -> None:
    assert site_of(by_hosts(), request("x.b.test", "http://a.test/")) == "a"


def test_connect_is_for_the_site_of_all_others() -> None:
    assert site_of(by_hosts(), request("a.test:443", "a.test:443", "CONNECT")) == "others"


def test_an_invalid_request_gets_the_error_of_its_site() -> None:
    headers = (("X-Of", "a"),)

    class Headers(Policy):
        response_headers = headers

    router = by_hosts(**{"a.test": of("a", Headers())})
    error = HttpError(431, "Too large.")
    response = router.handle(request("a.test")._replace(error=error), CONTEXT)
    assert (response.status, response.headers[:1]) == (431, headers)
    assert router.handle(Request("", "", error=error), CONTEXT).status == 431


def test_the_cache_is_keyed_on_the_host_and_on_all_that_a_site_reads() -> None:
    cookie, client = KeyedOn(headers=frozenset({"cookie"})), KeyedOn(client=True)
    router = by_hosts(
        **{"c.test": of("c", KeyedPolicy(cookie)), "d.test": of("d", KeyedPolicy(client))}
    )
    assert router.keyed_on == KeyedOn(headers=frozenset({"host", "cookie"}), client=True)
    assert by_paths().keyed_on == KeyedOn()


def test_a_body_is_for_the_sink_of_its_site() -> None:
    sink = object()
    router = by_hosts(**{"w.test": of("w", accept_body=lambda _request, _context: sink)})
    assert router.accept_body
    assert router.accept_body(request("w.test"), CONTEXT) is sink
    assert router.accept_body(request("a.test"), CONTEXT) is None
    assert by_hosts().accept_body is None


def test_a_sinks_response_is_finished_by_its_site() -> None:
    router = by_hosts(**{"f.test": of("f", Finisher())})
    made = Response(201)
    assert router.finish(request("f.test"), CONTEXT, made).headers == (("X-Finished", "yes"),)
    assert router.finish(request("a.test"), CONTEXT, made).headers == ()


def test_without_inlined_bodies_the_same_sites_answer() -> None:
    for router in (by_hosts(HostTable({})), by_paths()):
        other = router.without_inlined_bodies()
        assert type(other) is type(router)
        assert other.keyed_on == router.keyed_on
        for asked in (request("a.test"), request("x.b.test", "/p/x"), request("evil.test")):
            assert site_of(other, asked) == site_of(router, asked)


def test_a_router_can_be_a_site_of_another() -> None:
    router = by_hosts(**{"p.test": by_paths()})
    assert site_of(router, request("p.test", "/p/x")) == "p"
    assert site_of(router, request("p.test", "/x")) == "rest"


def select(path: bytes) -> int | None:
    return 0 if path.startswith(b"/p/") else None


def by_paths(**options: Any) -> PathRouter:
    return PathRouter([of("p")], of("rest"), select, **options)


@pytest.mark.parametrize(
    ("target", "site"),
    [
        ("/p/x", "p"),
        ("/p/", "p"),
        ("/p", "rest"),
        ("/P/x", "rest"),
        ("/%70/x", "p"),
        ("//p//x", "p"),
        ("/a/../p/x", "p"),
        ("/p/../x", "rest"),
        ("/p/%2e%2E/x", "rest"),
        ("http://a.test/p/x", "p"),
        ("/p/x?/q/", "p"),
        ("/q?/p/", "rest"),
        ("*", "rest"),
        ("/p/%zz", "rest"),
    ],
)
def test_a_request_is_for_the_site_of_its_decoded_path(target: str, site: str) -> None:
    assert site_of(by_paths(), request(target=target)) == site


SEGMENTS = st.sampled_from(["p", "%70", "x", ".", "..", "%2e%2E", "", "%2F", "p%2Fx", "a b", "%"])


@given(st.lists(SEGMENTS, max_size=6).map("/".join), st.booleans())
def test_no_way_to_write_a_path_leads_to_the_settings_of_another(rest: str, slashes: bool) -> None:
    target = f"/{rest}"
    try:
        path = parse_path(target, decode_slashes=slashes)
    except HttpError:
        return
    router = by_paths(decode_slashes=slashes)
    assert site_of(router, request(target=target)) == site_of(
        router, request(target=path.location())
    )


def test_an_escaped_slash_counts_where_it_separates_names() -> None:
    asked = request(target="/p%2Fx")
    assert site_of(by_paths(), asked) == "rest"
    assert site_of(by_paths(decode_slashes=True), asked) == "p"


def test_what_is_explained_is_why_a_request_is_for_a_site() -> None:
    site, note = of("p"), Note("site", "/p/* has settings of its own", "aserve.toml:3")
    router = PathRouter([site], of("rest"), select, {site: note})
    for one in (router, router.without_inlined_bodies()):
        notes: list[Note] = []
        one.handle(request(target="/p/x"), CONTEXT._replace(notes=notes))
        assert notes == [note]
        one.handle(request(target="/x"), CONTEXT._replace(notes=notes))
        assert notes == [note]
