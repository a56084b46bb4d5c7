"""The facts of the published tests of Netlify's and Cloudflare's parsers of _redirects.

https://github.com/netlify/build/tree/main/packages/redirect-parser/tests/line-parser.test.ts and
https://github.com/cloudflare/workers-sdk/tree/main/packages/workers-shared/utils/tests have the
same inputs. What a line means is written here as a path that matches, where it leads to, the
status, and whether it is forced. Netlify's countries, roles, signatures and proxies are beyond this
server: their lines have a problem each.
"""

import pytest

from aserve.rules import cloudflare_redirects, netlify_redirects
from aserve.rules.cloudflare_redirects import RedirectLimits
from aserve.rules.matcher import RuleIndex
from aserve.rules.targets import expand


def meaning(parsed, paths, *, optional_slash):
    """Return what the first rule for each path does, None for a path that has none."""
    index = RuleIndex(parsed.redirects, optional_slash=optional_slash)
    return [first(index.find(path)) for path in paths]


def first(matches):
    for match in matches:
        rule = match.rule
        return expand(rule.to, match.values), rule.status, rule.is_forced
    return None


POST = "/blog/my-post.php"

NETLIFY = {
    "empty": ("", {}),
    "empty line": (
        f"{POST}  /blog/my-post\n\n/blog/my-post-two.php  /blog/my-post-two\n",
        {POST: ("/blog/my-post", 301), "/blog/my-post-two.php": ("/blog/my-post-two", 301)},
    ),
    "several lines": (
        (
            "/10thmagnitude   http://www.10thmagnitude.com/   301\n"
            "/bananastand     http://eepurl.com/Lgde5         301\n"
        ),
        {
            "/10thmagnitude": ("http://www.10thmagnitude.com/", 301),
            "/bananastand": ("http://eepurl.com/Lgde5", 301),
        },
    ),
    "spaces around": ("  /home              /\n", {"/home": ("/", 301)}),
    "carriage returns": ("/home /\r\n/a /b 302\r\n", {"/home": ("/", 301), "/a": ("/b", 302)}),
    "comment": (f"# an old leftover\n{POST}  /blog/my-post", {POST: ("/blog/my-post", 301)}),
    "comment behind": (f"{POST}  /blog/my-post # leftover", {POST: ("/blog/my-post", 301)}),
    "fragment": (
        "/blog/my-post-ads.php  /blog/my-post#ads # this is a valid anchor with a comment",
        {"/blog/my-post-ads.php": ("/blog/my-post#ads", 301)},
    ),
    "rest": (
        "/*  https://www.bitballoon.com/:splat 301",
        {"/a/b": ("https://www.bitballoon.com/a/b", 301)},
    ),
    "rest, forced": (
        "/*  https://www.bitballoon.com/:splat 301!",
        {"/a": ("https://www.bitballoon.com/a", 301, True)},
    ),
    "no target": (
        "/admin/* 200\n/other/* 200!",
        {"/admin/x": ("/admin/x", 200), "/other/y/z": ("/other/y/z", 200, True)},
    ),
    "status": (
        "/test https://www.bitballoon.com/test=hello 301",
        {"/test": ("https://www.bitballoon.com/test=hello", 301)},
    ),
    "status, forced": (
        "/test https://www.bitballoon.com/test=hello 301!",
        {"/test": ("https://www.bitballoon.com/test=hello", 301, True)},
    ),
}


@pytest.mark.parametrize("name", NETLIFY)
def test_netlify(name):
    text, expected = NETLIFY[name]
    parsed = netlify_redirects.parse_redirects(text)
    found = meaning(parsed, expected, optional_slash=True)
    assert found == [(*one, False)[:3] for one in expected.values()]
    assert parsed.problems == []
    assert len(parsed.redirects) == len(expected)


def test_netlify_has_rules_for_a_host():
    text = "http://hello.bitballoon.com/* http://www.hello.com/:splat"
    (rule,) = netlify_redirects.parse_redirects(text).redirects
    assert rule.conditions.host == "hello.bitballoon.com"
    assert rule.to == "http://www.hello.com/:splat"
    assert rule.pattern.names == ("splat",)


@pytest.mark.parametrize("host", ["m\xfcller.test", "XN--Mller-kva.test."])
def test_netlify_has_rules_for_every_spelling_of_a_host(host):
    (rule,) = netlify_redirects.parse_redirects(f"https://{host}/a /b").redirects
    assert rule.conditions.host == "xn--mller-kva.test"


def test_netlify_has_rules_for_a_query():
    text = (
        "/      page=news      /news\n"
        "/blog  post=:post_id  /blog/:post_id\n"
        "/      _escaped_fragment_=/about    /about\n"
    )
    parsed = netlify_redirects.parse_redirects(text)
    assert [(rule.conditions.query, rule.to) for rule in parsed.redirects] == [
        ((("page", "news"),), "/news"),
        ((("post", ":post_id"),), "/blog/:post_id"),
        ((("_escaped_fragment_", "/about"),), "/about"),
    ]


def test_netlify_has_rules_for_a_language_and_a_cookie():
    text = "/old-path /new-path 200 Language=en\n/old /new 302 Cookie=beta,test Language=de,fr"
    one, other = netlify_redirects.parse_redirects(text).redirects
    assert one.conditions.languages == {"en"}
    assert other.conditions.languages == {"de", "fr"}
    assert other.conditions.cookies == {"beta", "test"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("http:// /to", "has no host"),
        ("http://example.com:8080/a /to", "without a port"),
        ("http://*.example.com/a /to", "must be written in full"),
        ("http://example.com/.netlify/from /to", "must not start with /.netlify"),
        ("/.netlify/from /to", "must not start with /.netlify"),
        ("/from /to not_a_status", "the status must be a number such as 301"),
        ("/m/scge/legal", "the path or URL that it leads to is missing"),
        ("/swfobject.html?detectflash=false 301", "the parameters of a query"),
        ("/swfobject.html 301", "the path or URL that it leads to is missing"),
        ("/m/scge/legal source=:source", "must begin with / or http"),
        ("/trt-therapy-san-diego\ttrt-therapy-san-diego.html", "must begin with / or http"),
        ("Basic-Auth: dev@terraeclipse.com:nud-feud-contour", "must begin with / or http"),
        ("/backup/*", "the path or URL that it leads to is missing"),
        # What Netlify can do, and this server cannot.
        ("/  /china 302 Country=ch,tw", "Country is never fulfilled"),
        ("/  /china 302 Country=il Language=en", "Country is never fulfilled"),
        ("/admin/*  /admin/:splat 200 Role=admin", "Role is never fulfilled"),
        ("/member/*  /member/:splat 200 Role=admin,member", "Role is never fulfilled"),
        ("/donate source=:source /donate/usa?source=:source 302 Country=us", "Country is never"),
        ("/api/*  https://api.bitballoon.com/*   200", "aserve is no proxy"),
        ("/api/*   https://api.example.com/:splat   200!  Sign=API_SECRET", "aserve is no proxy"),
        ("/api/*   https://api.example.com/:splat   200!  signed=API_SECRET", "is no proxy"),
        # What would be unsafe, or can have no effect.
        ("/a/* https://:splat", "is not the name of a host"),
        ("/a/* https://example.com:splat", "is not the name of a host"),
        ("/a/* https://me@example.com/", "is not the name of a host"),
        ("/a //example.com/", "leads to another host"),
        ("/a /b 401", "cannot have the status 401"),
        ("/a /b 299", "cannot have the status 299"),
        ("/a /b 302 Cookie=", "has no value"),
        ("/a /b 302 Cookie", "must be NAME=VALUE"),
        ("/a /b 302 Moon=full", "it is not known"),
        ("a /b 302", "a path begins with /"),
    ],
)
def test_netlify_cannot_be_followed(line, reason):
    parsed = netlify_redirects.parse_redirects(f"# a comment\n\n{line}\n/good /one\n")
    (problem,) = parsed.problems
    assert str(problem).startswith("_redirects:3: ")
    assert reason in problem.reason
    assert [rule.line for rule in parsed.redirects] == [4]


CLOUDFLARE = {
    "a rule": ("/a /b 301", {"/a": ("/b", 301)}),
    "blank lines": ("\n/a /b 301\n", {"/a": ("/b", 301)}),
    "spaces": ("\n  /a /b 301\n", {"/a": ("/b", 301)}),
    "comments": ("\n  # This\n  /a /b 301\n  # And this.\n", {"/a": ("/b", 301)}),
    "comment behind": ("/a /b # c\n/c /d 301 # e", {"/a": ("/b", 302), "/c": ("/d", 301)}),
    "default": ("/a /b 302\n/c /d", {"/a": ("/b", 302), "/c": ("/d", 302)}),
    "queries": (
        (
            "/a /b?query=string 302\n/c?this=rejected /d 301\n"
            "/ext https://some.domain:1234/route?q=string#anchor"
        ),
        {
            "/a": ("/b?query=string", 302),
            "/c": ("/d", 301),
            "/ext": ("https://some.domain:1234/route?q=string#anchor", 302),
        },
    ),
    "fragments": (
        "/a /b#blah 302\n/c /b##blah-1 302\n/d https://example.com/b##blah-1 302",
        {
            "/a": ("/b#blah", 302),
            "/c": ("/b##blah-1", 302),
            "/d": ("https://example.com/b##blah-1", 302),
        },
    ),
    "rewrite": ("\t/a /b 200\n/* /foo 200", {"/a": ("/b", 200), "/x": ("/foo", 200)}),
    "index elsewhere": (
        "/foo https://bar.com/index.html 302",
        {"/foo": ("https://bar.com/index.html", 302)},
    ),
    "ports": (
        (
            "/foo https://bar.com:123/index.html 302\n/cat https://cat.com:12345 302\n"
            "/dog https://dog.com:12345"
        ),
        {
            "/foo": ("https://bar.com:123/index.html", 302),
            "/cat": ("https://cat.com:12345/", 302),
            "/dog": ("https://dog.com:12345/", 302),
        },
    ),
    "escapes": (
        (
            "/some%20page /somewhere%20else\n/;`me /nons:/&@%+~{}ense\n/nah https://yeah.com\n"
            "yeah.com https://nah.com"
        ),
        {
            "/some%20page": ("/somewhere%20else", 302),
            "/;%60me": ("/nons:/&@%+~%7B%7Dense", 302),
            "/nah": ("https://yeah.com/", 302),
            "/yeah.com": ("https://nah.com/", 302),
        },
    ),
}


@pytest.mark.parametrize("name", CLOUDFLARE)
def test_cloudflare(name):
    text, expected = CLOUDFLARE[name]
    parsed = cloudflare_redirects.parse_redirects(text)
    found = meaning(parsed, expected, optional_slash=False)
    assert found == [(*one, True) for one in expected.values()]
    assert parsed.problems == []
    assert len(parsed.redirects) == len(expected)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("/c", "has 1 words"),
        ("/d /e 302 !important", "has 4 words"),
        ("/some page /somewhere else", "has 4 words"),
        ("/c /d 418", "the status must be one of 200, 301, 302, 303, 307, 308, not 418"),
        ("https://yeah.com https://nah.com", "is for a path of this site"),
        ("/a https://example.com/b 200", "aserve is no proxy"),
        ("/a http://example.com/b", "leads to /path or https://host/path"),
        ("/* /index.html 200", "redirects here again; for a single-page app, use --spa"),
        ("/* /index 200", "redirects here again"),
        ("/ /index.html", "redirects here again"),
        ("/ /index", "redirects here again"),
        ("/:a/:a /b", "may occur once"),
        ("/*/* /b", "may occur once"),
        ("/* https://:splat", "is not the name of a host"),
        ("/" + "a" * 1_000 + " /" + "b" * 1_000 + " 301", "a line may have 2,000 characters"),
    ],
)
def test_cloudflare_cannot_be_followed(line, reason):
    text = f"# a comment\n{'#' * 2_001}\n{line}\n/good /one\n"
    parsed = cloudflare_redirects.parse_redirects(text, hides_index=True)
    (problem,) = parsed.problems
    assert str(problem).startswith("_redirects:3: ")
    assert reason in problem.reason
    assert [rule.line for rule in parsed.redirects] == [4]


def test_cloudflare_ignores_a_second_rule_for_a_path():
    parsed = cloudflare_redirects.parse_redirects("/a /b\n# permitted\n/b /a\n/a /c\n")
    assert [(rule.line, rule.to) for rule in parsed.redirects] == [(1, "/b"), (3, "/a")]
    assert [str(problem) for problem in parsed.problems] == [
        "_redirects:4: there is a rule for /a above, which comes first"
    ]


def test_cloudflare_may_lead_to_the_index_where_that_does_not_redirect():
    text = "/* /index.html 200\n/* /index 200\n/ /index.html\n/ /index\n"
    parsed = cloudflare_redirects.parse_redirects(text, hides_index=False)
    assert [(rule.line, rule.to) for rule in parsed.redirects] == [(3, "/index.html")]
    assert [problem.line for problem in parsed.problems] == [1, 2, 4]


STATIC = "".join(f"/a/{number} /b/{number}\n" for number in range(2_050))
DYNAMIC = "".join(f"/a/{number}/* /b/{number}/:splat\n" for number in range(150))


def test_cloudflare_has_a_most_of_rules():
    parsed = cloudflare_redirects.parse_redirects(STATIC + DYNAMIC)
    assert [rule.line for rule in parsed.redirects] == [*range(1, 2_001), *range(2_051, 2_151)]
    assert [problem.line for problem in parsed.problems] == [*range(2_001, 2_051), 2_151]
    assert parsed.problems[0].reason == "only 2,000 rules without * are used"
    assert parsed.problems[-1].reason == (
        "only 100 rules with * or :name are used: none from here on"
    )


def test_cloudflare_counts_a_path_behind_a_pattern_as_a_pattern():
    parsed = cloudflare_redirects.parse_redirects("/* /x\n" + STATIC)
    assert [rule.line for rule in parsed.redirects] == [*range(1, 101)]
    assert [problem.line for problem in parsed.problems] == [101]


def test_the_limits_of_cloudflare_can_be_others():
    line = f"/{'a' * 1_001} /{'b' * 1_001} 301\n"
    limits = RedirectLimits(3_000, 3_000, 200)
    parsed = cloudflare_redirects.parse_redirects(line + STATIC + DYNAMIC, limits)
    assert len(parsed.redirects) == 2_201
    assert parsed.problems == []
