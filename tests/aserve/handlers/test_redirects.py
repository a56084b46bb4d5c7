"""What the rules of a site do to its responses: redirects, rewrites and pages."""

import os
import re
from http.cookies import SimpleCookie

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.config.settings import Settings, SettingsError
from aserve.filesystem.mounts import Mounts
from aserve.handlers.handler import Note, RequestContext
from aserve.handlers.redirects import choose
from aserve.http.messages import Request
from aserve.rules import conditions
from aserve.rules.dialects import DIALECTS
from aserve.rules.site_rules import SiteRules
from aserve.server.site_factory import build_site

NOW = 2_000_000_000
OLD = 1_000_000_000

FILES = {
    "index.html": "home",
    "about.html": "about",
    "app.js": "script",
    "en/404.html": "not here",
    "gone.html": "gone",
    "pages/index.html": "pages",
    "empty/.keep": "",
    "taken.txt": "a file",
}

NETLIFY = """
/old                    /new
/old-for-now            /new                       302
/blog/*                 /news/:splat               308
/user/:id/posts/:post   /u/:id?post=:post          303
/search q=:q            /find/:q                   307
/search                 /find
/out                    https://other.test/x       301
/with-query             /new?a=1
/with-fragment          /new#part
/taken.txt              /elsewhere
/about.html             /forced                    301!
/pretty                 /about                     200
/pages-here             /pages                     200
/gone-file              /no-such-file              200
/app/*                  /index.html                200
/en/*                   /en/404.html               404
/was-here               /gone.html                 410
/was-there              /no-such-page.html         410
/empty/*                /index.html                200
/self                   /self/
/language               /de/                       302  Language=de
/cookie                 /beta/                     302  Cookie=beta
http://old.test/host    https://new.test/host
/host                   /other-host
"""

CLOUDFLARE = """
/old          /new
/old/         /new-with-slash
/taken.txt    /elsewhere        301
/a/*          /b/:splat
/v/:id.html   /v?id=:id         308
/x            /about            200
/x.js         /app.js           200
"""


def make_site(root, text, **settings):
    for name, content in FILES.items():
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        os.utime(path, (OLD, OLD))
    (root / "_redirects").write_text(text)
    os.utime(root / "_redirects", (OLD, OLD))
    return build_site(Settings(root, **settings), Mounts())


@pytest.fixture(scope="module")
def netlify(tmp_path_factory):
    return make_site(tmp_path_factory.mktemp("netlify"), NETLIFY)


@pytest.fixture(scope="module")
def cloudflare(tmp_path_factory):
    root = tmp_path_factory.mktemp("cloudflare")
    return make_site(root, CLOUDFLARE, rules_dialect="cloudflare")


def ask(site, target, method="GET", **headers):
    """Return the response to a request; headers by their names with _ for -."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"\r\n{name}: {value}" for name, value in named.items())
    head = f"{method} {target} HTTP/1.1{lines}\r\n\r\n"
    response = site.handle(Request(method, target, 1, named, head), RequestContext(NOW))
    return response, dict(response.headers)


@pytest.mark.parametrize(
    ("target", "status", "location"),
    [
        ("/old", 301, "/new"),
        ("/old/", 301, "/new"),
        ("/%6Fld", 301, "/new"),
        ("//old", 301, "/new"),
        ("/old?a=1&b", 301, "/new?a=1&b"),
        ("/old-for-now", 302, "/new"),
        ("/blog", 308, "/news/"),
        ("/blog/2020/a%20b/", 308, "/news/2020/a%20b/"),
        ("/blog/../blog/a", 308, "/news/a"),
        ("/user/7/posts/a&b", 303, "/u/7?post=a%26b"),
        ("/search?q=a/b&r=1", 307, "/find/a%2Fb?q=a/b&r=1"),
        ("/search?r=1", 301, "/find?r=1"),
        ("/out?a", 301, "https://other.test/x?a"),
        ("/with-query?b=2", 301, "/new?a=1"),
        ("/with-fragment?b=2", 301, "/new?b=2#part"),
        ("/about.html", 301, "/forced"),
    ],
)
def test_netlify_redirects(netlify, target, status, location):
    for method in ("GET", "HEAD"):
        response, headers = ask(netlify, target, method)
        assert (response.status, headers["Location"]) == (status, location)
        assert headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    ("target", "status", "body"),
    [
        ("/taken.txt", 200, b"a file"),
        ("/pretty", 200, b"about"),
        ("/pages-here", 200, b"pages"),
        ("/app/any/route", 200, b"home"),
        ("/app", 200, b"home"),
        ("/empty/", 200, b"home"),
        ("/en/zz", 404, b"not here"),
        ("/was-here", 410, b"gone"),
        ("/app.js", 200, b"script"),
    ],
)
def test_netlify_sends(netlify, target, status, body):
    response, headers = ask(netlify, target, accept="text/html")
    assert (response.status, b"".join(response.body)) == (status, body)
    assert "Location" not in headers


@pytest.mark.parametrize(
    ("target", "status"),
    [("/gone-file", 404), ("/was-there", 410), ("/self", 404), ("/self/", 404), ("/New", 404)],
)
def test_netlify_finds_nothing(netlify, target, status):
    assert ask(netlify, target)[0].status == status


def test_a_rewritten_file_is_like_any_file(netlify):
    whole, headers = ask(netlify, "/app/route")
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert ask(netlify, "/app/route", if_none_match=headers["ETag"])[0].status == 304
    part, described = ask(netlify, "/app/route", range="bytes=1-2")
    assert (part.status, b"".join(part.body)) == (206, b"om")
    assert described["Content-Range"] == "bytes 1-2/4"
    empty, same = ask(netlify, "/app/route", "HEAD")
    assert (empty.body, same, empty.length) == ((), headers, whole.length)
    assert ask(netlify, "/app/route", if_match='"other"')[0].status == 412


def test_an_error_page_is_no_page_for_programs(netlify):
    response, headers = ask(netlify, "/en/zz", accept="application/json")
    assert (response.status, headers["Content-Type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 404),
        ({"accept_language": "de"}, 302),
        ({"accept_language": "en;q=0.5, de-AT"}, 302),
        ({"accept_language": "en, de;q=0.5"}, 404),
        ({"accept_language": "en", "cookie": "nf_lang=de"}, 302),
        ({"accept_language": "de", "cookie": "nf_lang=en"}, 404),
    ],
)
def test_a_rule_can_be_for_a_language(netlify, headers, status):
    response, sent = ask(netlify, "/language", **headers)
    assert response.status == status
    assert "Accept-Language" in ", ".join(v for n, v in response.headers if n == "Vary")
    assert sent.get("Location", "/de/") == "/de/"


@pytest.mark.parametrize(
    ("cookie", "status"),
    [("beta=1", 302), ("a=b; beta=x", 302), ("beta=", 404), ("xbeta=1", 404), ("a=beta", 404)],
)
def test_a_rule_can_be_for_a_cookie(netlify, cookie, status):
    response, _ = ask(netlify, "/cookie", cookie=cookie)
    assert response.status == status
    assert "Cookie" in ", ".join(v for n, v in response.headers if n == "Vary")
    assert SimpleCookie(cookie) is not None


@pytest.mark.parametrize(
    ("target", "host", "location"),
    [
        ("/host", "old.test", "https://new.test/host"),
        ("/host", "OLD.test.:8080", "https://new.test/host"),
        ("/host", "x.test", "/other-host"),
        ("http://old.test/host", "x.test", "https://new.test/host"),
    ],
)
def test_a_rule_can_be_for_a_host(netlify, target, host, location):
    assert ask(netlify, target, host=host)[1]["Location"] == location


@pytest.mark.parametrize(
    ("target", "status", "location"),
    [
        ("/old", 302, "/new"),
        ("/old/", 302, "/new-with-slash"),
        ("/taken.txt", 301, "/elsewhere"),
        ("/a/x/?q", 302, "/b/x/?q"),
        ("/v/7.html", 308, "/v?id=7"),
    ],
)
def test_cloudflare_redirects(cloudflare, target, status, location):
    response, headers = ask(cloudflare, target)
    assert (response.status, headers["Location"]) == (status, location)


@pytest.mark.parametrize(
    ("target", "status", "body"),
    [("/x", 200, b"about"), ("/x.js", 200, b"script"), ("/a", 404, None), ("/", 200, b"home")],
)
def test_cloudflare_sends(cloudflare, target, status, body):
    response, _ = ask(cloudflare, target)
    assert response.status == status
    assert body is None or b"".join(response.body) == body


@pytest.mark.parametrize("name", ["_redirects", "_headers", "en/_headers", "_REDIRECTS"])
@pytest.mark.parametrize("rules", ["auto", "off"])
def test_the_files_are_never_sent(tmp_path, name, rules):
    site = make_site(tmp_path, f"/x /{name} 200\n", rules=rules)
    (tmp_path / name).write_text(f"/x /{name} 200\n")
    assert ask(site, f"/{name}")[0].status == 404
    assert ask(site, "/x")[0].status == 404
    assert name.encode() not in b"".join(ask(site, "/?format=json")[0].body)


def test_off_is_off(tmp_path):
    site = make_site(tmp_path, NETLIFY, rules="off")
    assert ask(site, "/old")[0].status == 404
    assert ask(site, "/about.html")[0].status == 200


def test_redirects_of_settings_come_before_those_of_the_file(tmp_path):
    lines = ("/old /by-setting 302", "/out https://e.test/ 308")
    site = make_site(tmp_path, NETLIFY, redirects=lines)
    assert ask(site, "/old")[1]["Location"] == "/by-setting"
    assert ask(site, "/out")[1]["Location"] == "https://e.test/"
    assert ask(site, "/blog/a")[1]["Location"] == "/news/a"


@pytest.mark.parametrize("root", ["files", "off", "named"])
def test_redirects_of_settings_need_no_files(tmp_path, root):
    (tmp_path / "a.txt").write_text("alpha")
    of_root = {"docs": tmp_path} if root == "named" else tmp_path
    rules = "off" if root == "off" else "auto"
    site = build_site(Settings(of_root, redirects=("/old /new",), rules=rules), Mounts())
    context = RequestContext(NOW, notes=[])
    response = site.handle(Request("GET", "/old"), context)
    assert ("Location", "/new") in response.headers
    assert Note("rule", "301 /new", "default") in context.notes
    assert ask(site, "/none")[0].status == 404


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (("/a /b", "/c"), "redirects: the path or URL that it leads to is missing: '/c'"),
        (("# none",), "redirects: it is empty, or a comment: '# none'"),
        (("/a /b", ""), "redirects: it is empty, or a comment: ''"),
        (("/a /b\n/c /d",), "redirects: the status must be a number such as 301 or 301!"),
    ],
)
def test_a_setting_that_is_no_redirect_is_refused(tmp_path, lines, reason):
    with pytest.raises(SettingsError) as caught:
        Settings(tmp_path, redirects=lines)
    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize("method", ["OPTIONS", "POST", "PUT", "TRACE"])
def test_rules_are_for_what_is_read(netlify, method):
    assert ask(netlify, "/old", method)[0].status in {204, 405}


@pytest.mark.parametrize(
    ("target", "note"),
    [
        ("/old", Note("rule", "301 /new", "_redirects:2")),
        ("/taken.txt", Note("rule", "301 /elsewhere, but only where nothing is", "_redirects:11")),
        ("/pretty", Note("rule", "200 /about", "_redirects:13")),
    ],
)
def test_a_rule_says_that_it_has_decided(netlify, target, note):
    context = RequestContext(NOW, notes=[])
    netlify.handle(Request("GET", target), context)
    assert note in context.notes


def test_an_app_gets_what_no_rule_does(tmp_path):
    site = make_site(tmp_path, "/old /new\n/gone /gone.html 410\n", spa="index.html")
    assert ask(site, "/old", sec_fetch_mode="navigate")[1]["Location"] == "/new"
    assert ask(site, "/gone", sec_fetch_mode="navigate")[0].status == 410
    assert b"".join(ask(site, "/any", sec_fetch_mode="navigate")[0].body) == b"home"


@pytest.mark.parametrize(("listing", "body"), [("auto", b"home"), ("on", None)])
def test_a_rule_comes_before_a_list_unless_lists_are_asked_for(tmp_path, listing, body):
    site = make_site(tmp_path, "/empty/* /index.html 200\n", listing=listing)
    found = b"".join(ask(site, "/empty/", accept="text/html")[0].body)
    assert found == body if body else b"<title>" in found
    assert b"<title>" in b"".join(ask(site, "/en/", accept="text/html")[0].body)


@pytest.mark.parametrize("urls", ["plain", "netlify", "cloudflare"])
def test_rules_go_with_every_convention_of_urls(tmp_path, urls):
    site = make_site(tmp_path, "/old /new\n/x /about 200\n/y /about.html 200\n", urls=urls)
    assert ask(site, "/old")[1]["Location"] == "/new"
    assert b"".join(ask(site, "/x")[0].body) == b"".join(ask(site, "/y")[0].body) == b"about"


def test_the_root_of_several_directories_has_the_rules(tmp_path):
    make_site(tmp_path, "/docs/old /docs/app.js\n/x /docs/app.js 200\n")
    site = build_site(Settings({"": tmp_path, "docs": tmp_path}), Mounts())
    assert ask(site, "/docs/old")[1]["Location"] == "/docs/app.js"
    assert b"".join(ask(site, "/x")[0].body) == b"script"


def test_directories_without_a_root_have_none(tmp_path):
    make_site(tmp_path, NETLIFY)
    site = build_site(Settings({"docs": tmp_path}), Mounts())
    assert ask(site, "/docs/old")[0].status == 404


PATHS = ["/a", "/b", "/c", "/a/*", "/b/:x", "/*"]
TARGETS = ["/a", "/b", "/c", "/a/:splat", "/:splat", "/b/:x", "http://site.test/a"]


@given(
    lines=st.lists(
        st.tuples(st.sampled_from(PATHS), st.sampled_from(TARGETS), st.sampled_from("23")),
        max_size=5,
    ),
    target=st.sampled_from(["/a", "/b/", "/c", "/a/b", "/b/c?d"]),
)
def test_no_response_leads_to_its_own_address(tmp_path_factory, lines, target):
    text = "".join(f"{path} {to} {status}02!\n" for path, to, status in lines)
    text = text.replace(" 202!", " 200!")
    site = make_site(tmp_path_factory.mktemp("loop"), text)
    response, headers = ask(site, target, host="site.test")
    location = re.sub("^http://site.test", "", headers.get("Location", ""))
    assert response.status in {200, 302, 404}
    assert location.rstrip("/") != target.rstrip("/")


def test_what_was_uploaded_runs_no_script_wherever_a_rule_shows_it(tmp_path):
    rules = "/shown/* /pages/:splat 200\n/gone /pages/index.html 404\n/own /about.html 200\n"
    site = make_site(tmp_path, rules, write=("/pages",))
    policies = {
        target: ask(site, target, accept="text/html")[1].get("Content-Security-Policy")
        for target in ("/pages/", "/shown/index.html", "/shown/", "/gone", "/own")
    }
    assert policies.pop("/own") is None
    assert set(policies.values()) == {"sandbox"}


def test_many_rules_about_the_parameters_of_one_path_parse_a_query_once(monkeypatch):
    text = "".join(f"/shop id={number} /products/{number}\n" for number in range(100))
    rules = SiteRules("", text, DIALECTS["netlify"]).redirects
    queries = []
    parse = conditions.parse_parameters
    monkeypatch.setattr(
        conditions, "parse_parameters", lambda query: queries.append(query) or parse(query)
    )
    for query in ("?id=none-of-these", "?id=99"):
        choice = choose(rules.find("/shop"), Request("GET", f"/shop{query}"), query)
        assert bool(choice.rule) == (query == "?id=99")
    assert queries == ["?id=none-of-these", "?id=99"]
