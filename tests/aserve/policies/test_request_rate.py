"""Which requests are counted together, and what a client is told that has sent too many."""

from pathlib import Path

import pytest

from aserve import PathSettings, VirtualHost
from aserve.cache.keys import KeyedOn
from aserve.config.settings import Settings, SettingsError
from aserve.filesystem.mounts import Mounts
from aserve.handlers.handler import Note, RequestContext
from aserve.http.messages import Request
from aserve.policies.site import Site
from aserve.server.rates import Rates
from aserve.server.site_factory import build_site
from tests.aserve.policies.test_access import body_of, login

CLIENT, OTHER = "192.0.2.1", "192.0.2.2"
NOW = 1_800_000_000.25


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a.txt", "api/x", "404.html"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("content")
    return tmp_path


def site_of(root: Path, **settings: object) -> Site:
    return build_site(Settings(root, **settings), Mounts())  # type: ignore[arg-type]


def count(site: Site, target: str = "/a.txt", client: str = CLIENT, host: str = "x") -> int:
    """Count a request; return for how many seconds more the client has to wait, 0 if it may ask."""
    assert site.count_request
    error = site.count_request(Request("GET", target, headers={"host": host}), client, NOW)
    if not error:
        return 0
    assert (error.status, error.close) == (429, False)
    ((name, seconds),) = error.headers
    assert name == "Retry-After"
    return int(seconds)


def test_without_a_rate_nothing_is_counted(root: Path) -> None:
    site = site_of(root)
    assert site.count_request is None
    assert site.keyed_on == KeyedOn()


def test_the_time_until_the_next_request_is_rounded_up(root: Path) -> None:
    site = site_of(root, rate="2/m:1")
    assert (count(site), count(site)) == (0, 30)
    site = site_of(root, rate="3/s:1")
    assert (count(site), count(site)) == (0, 1)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (CLIENT, CLIENT, True),
        (CLIENT, OTHER, False),
        ("2001:db8::1", "2001:db8::2", True),  # a subscriber has a /64 (RFC 6177)
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", False),
        ("-", "-", True),
        ("-", CLIENT, False),
    ],
)
def test_who_counts_as_one_client(root: Path, one: str, other: str, is_same: bool) -> None:
    site = site_of(root, rate="1/h")
    assert count(site, client=one) == 0
    assert (count(site, client=other) > 0) == is_same


def test_paths_with_a_rate_of_their_own_count_for_themselves(root: Path) -> None:
    own = PathSettings("/api/*", rate="1/h")
    site = site_of(root, rate="2/h", paths=(own, PathSettings("/b/*", title="x")))
    assert [count(site, "/api/x") > 0 for _ in range(2)] == [False, True]
    assert [count(site, one) > 0 for one in ("/a.txt", "/b/c", "/a.txt")] == [False, False, True]
    assert count(site, "/api/../api/%78") > 0  # as the path is once it is resolved


def test_a_rate_of_paths_alone_leaves_the_others_uncounted(root: Path) -> None:
    site = site_of(root, paths=(PathSettings("/api/*", rate="1/h"),))
    assert [count(site, "/a.txt") for _ in range(3)] == [0, 0, 0]
    assert [count(site, "/api/x") > 0 for _ in range(2)] == [False, True]


def test_paths_can_be_without_the_rate_of_their_site(root: Path) -> None:
    site = site_of(root, rate="1/h", paths=(PathSettings("/api/*", rate=""),))
    assert [count(site, "/api/x") for _ in range(3)] == [0, 0, 0]
    assert [count(site, "/a.txt") > 0 for _ in range(2)] == [False, True]


def test_equal_rates_that_are_set_twice_count_apart(root: Path) -> None:
    site = site_of(root, rate="1/h", paths=(PathSettings("/api/*", rate="1/h"),))
    assert [count(site, one) for one in ("/a.txt", "/api/x")] == [0, 0]
    assert count(site, "/a.txt") > 0
    assert count(site, "/api/x") > 0


def test_hosts_share_the_rate_of_the_server_and_count_for_themselves_otherwise(root: Path) -> None:
    sites = (
        VirtualHost("a.test", root),
        VirtualHost("b.test", root, rate="1/h", paths=(PathSettings("/api/*", rate="1/h"),)),
    )
    site = site_of(root, rate="2/h", sites=sites, allowed_hosts=("c.test",))
    assert count(site, host="a.test") == 0
    assert count(site, host="c.test") == 0
    for host in ("a.test", "c.test", "misdirected.test"):
        assert count(site, host=host) > 0
    assert [count(site, host="b.test") > 0 for _ in range(2)] == [False, True]
    assert [count(site, "/api/x", host="b.test") > 0 for _ in range(2)] == [False, True]


def test_a_host_that_is_not_served_counts(root: Path) -> None:
    site = site_of(root, rate="1/h", allowed_hosts=("a.test",))
    assert count(site, host="other.test") == 0
    assert count(site, host="a.test") > 0


def test_all_users_of_one_address_count_together(root: Path) -> None:
    site = site_of(root, rate="2/h", auth=("ann:a", "ben:b"), readers=("ann",))
    assert site.count_request
    for pair, is_refused in (("ann:a", False), ("ben:b", False), ("", True), ("ann:a", True)):
        error = site.count_request(Request("GET", "/", headers=login(pair)), CLIENT, NOW)
        assert (error is not None) == is_refused


def test_who_is_not_served_counts_as_well(root: Path) -> None:
    site = site_of(root, rate="1/h", deny=(CLIENT,))
    assert [count(site) > 0 for _ in range(2)] == [False, True]
    assert count(site, client=OTHER) == 0


def test_what_was_counted_stays_in_a_reload(root: Path) -> None:
    rates, settings = Rates(), Settings(root, rate="1/h")
    assert count(build_site(settings, Mounts(), rates=rates)) == 0
    other = Settings(root, rate="1/h", title="x")
    assert count(build_site(other, Mounts(), rates=rates)) > 0
    assert count(build_site(Settings(root, rate="2/h"), Mounts(), rates=rates)) == 0


def test_two_servers_in_one_program_count_apart(root: Path) -> None:
    assert count(site_of(root, rate="1/h")) == 0
    assert count(site_of(root, rate="1/h")) == 0


def test_a_request_too_many_gets_a_page_of_errors(root: Path) -> None:
    site = site_of(root, rate="1/h")
    request = Request("GET", "/a.txt", headers={"accept": "text/html"})
    assert site.count_request
    site.count_request(request, CLIENT, NOW)
    error = site.count_request(request, CLIENT, NOW)
    response = site.handle(request._replace(error=error), RequestContext(int(NOW)))
    assert response.status == 429
    assert ("Retry-After", "3600") in response.headers
    assert b"429 Too Many Requests" in body_of(response)


def test_what_decided_is_told(root: Path) -> None:
    notes: list[Note] = []
    site = site_of(root, rate="10/m:20")
    site.handle(Request("GET", "/a.txt"), RequestContext(0, notes=notes))
    assert Note("access", "each client may ask 10/m:20", "default") in notes


def test_what_is_no_rate_is_an_error(root: Path) -> None:
    with pytest.raises(SettingsError, match="rate: must be N/s"):
        Settings(root, rate="fast")
    with pytest.raises(SettingsError, match="paths: /a: rate: must have numbers from 1 to"):
        Settings(root, paths=(PathSettings("/a", rate="0/s"),))
