"""Request targets: the four forms, escapes, dot segments, and files that are never served."""

import re

from tests.conformance.reader import Response
from tests.conformance.site import FILES, HELLO, INDEX, SUB_INDEX
from tests.conformance.table import (
    CLOSED,
    EITHER,
    MUST,
    OURS,
    SHOULD,
    HeaderCheck,
    Level,
    Row,
    expect,
    get,
    head,
    raw,
    request,
    row,
)

HELLO_OK = expect(200, body=HELLO)
BAD = expect(400)
MISSING = expect(404)
REDIRECTS = (301, 302, 307, 308)


def location_of(path: str) -> HeaderCheck:
    """Accept a Location as a path, or as a URL of the requested host."""
    return re.compile(r"(http://test(:\d+)?)?" + re.escape(path))


def file(name: str, target: str, path: str, clause: str = "3986 2.1", level: Level = MUST) -> Row:
    """Expect a target to name one of the files."""
    return row(f"target-{name}", clause, level, get(target), expect(200, body=FILES[path]))


def redirected(
    name: str, target: str, location: str, clause: str = "9110 15.4.2", level: Level = OURS
) -> Row:
    """Expect a redirect to a path on this server."""
    return row(
        f"redirect-{name}",
        clause,
        level,
        get(target),
        expect(*REDIRECTS, location=location_of(location)),
        aserve=expect(301, location=location),
    )


def keeps_secrets(response: Response) -> bool:
    return b"TOP SECRET" not in response.body and b"root:" not in response.body


forms = [
    file("origin-form", "/hello.txt", "hello.txt", "9112 3.2.1"),
    file("root", "/", "index.html", "9112 3.2.1", OURS),
    file("query", "/hello.txt?a=b&c", "hello.txt", "9112 3.2.1"),
    file("query-empty", "/hello.txt?", "hello.txt", "9112 3.2.1"),
    file("query-with-slashes", "/hello.txt?/../x?y", "hello.txt", "9112 3.2.1"),
    file("absolute-form", "http://test/hello.txt", "hello.txt", "9112 3.2.2"),
    file("absolute-form-with-port", "http://test:80/hello.txt", "hello.txt", "9112 3.2.2"),
    file("absolute-form-in-capitals", "HTTP://TEST/hello.txt", "hello.txt", "9110 4.2.3"),
    file("absolute-form-without-path", "http://test", "index.html", "9110 4.2.3", OURS),
    file("absolute-form-with-query", "http://test/hello.txt?a", "hello.txt", "9112 3.2.2"),
    file("absolute-form-query-only", "http://test?a=b", "index.html", "9112 3.2.2", OURS),
    file("absolute-form-ipv6", "http://[::1]/hello.txt", "hello.txt", "9112 3.2.2", OURS),
    row(
        # RFC 9112 3.2.2: the Host header MUST be ignored and the host of the target be used.
        "target-absolute-form-overrides-host",
        "9112 3.2.2",
        MUST,
        get("http://test/hello.txt", host="other.example"),
        HELLO_OK,
    ),
    row(
        # RFC 9110 7.4: "a request for an "https" resource MUST be rejected unless it has been
        # received over a connection that has been secured"; 421 is meant for it.
        "target-https-without-tls",
        "9110 7.4",
        MUST,
        get("https://test/hello.txt"),
        expect(400, 403, 404, 421),
        aserve=expect(421),
    ),
    row(
        # RFC 9112 3.2: the Host header is required for every form of target.
        "target-absolute-form-without-host",
        "9112 3.2",
        MUST,
        get("http://test/hello.txt", host=None),
        BAD,
        after=CLOSED,
        rfc_after=EITHER,
    ),
    *(
        # The connection may close or stay open: the framing of the message is valid.
        row(
            f"target-{name}",
            clause,
            level,
            get(target),
            BAD | expect(404, 421, *others),
            after=EITHER,
            aserve=BAD,
        )
        for name, clause, level, target, *others in (
            # RFC 9110 4.2.1: an empty host MUST be rejected as invalid.
            ("absolute-form-without-host-name", "9110 4.2.1", MUST, "http:///hello.txt"),
            ("absolute-form-with-port-only", "9110 4.2.1", MUST, "http://:80/hello.txt"),
            # RFC 9110 4.2.4: userinfo SHOULD be treated as an error.
            ("absolute-form-with-userinfo", "9110 4.2.4", SHOULD, "http://me@test/hello.txt"),
            ("absolute-form-with-password", "9110 4.2.4", SHOULD, "http://a:b@test/hello.txt"),
            ("absolute-form-of-ftp", "9110 7.4", SHOULD, "ftp://test/hello.txt", 501),
            ("absolute-form-bad-port", "9112 3.2", SHOULD, "http://test:x/hello.txt"),
            # RFC 9112 3.2: none of the four forms, so the request line is invalid.
            ("without-slash", "9112 3.2", SHOULD, "hello.txt", 301),
            ("of-query-only", "9112 3.2", SHOULD, "?a=b", 301),
            ("of-authority-form-with-get", "9112 3.2.3", SHOULD, "test:80", 301),
            ("of-scheme-only", "9112 3.2", SHOULD, "http:", 301),
            ("of-one-slash-after-scheme", "9112 3.2", SHOULD, "http:/hello.txt", 301),
            ("of-backslash", "9112 3.2", SHOULD, "\\hello.txt", 301),
            ("asterisk-with-get", "9112 3.2.4", SHOULD, "*", 405),
            ("fragment", "9112 3.2.1", SHOULD, "/hello.txt#part", 301),
            ("fragment-in-query", "9112 3.2.1", SHOULD, "/hello.txt?a#part", 301),
            ("fragment-empty", "9112 3.2.1", SHOULD, "/hello.txt#", 301),
        )
    ),
    row(
        "target-asterisk-with-head",
        "9112 3.2.4",
        SHOULD,
        head("*"),
        expect(400, 404, 405, body=b""),
        aserve=expect(400, body=b""),
    ),
    # RFC 9112 3: at least 8,000 bytes for the request line are RECOMMENDED.
    row(
        "target-line-of-8000",
        "9112 3",
        SHOULD,
        get("/hello.txt?" + "a" * (8_000 - len("GET /hello.txt? HTTP/1.1"))),
        HELLO_OK,
    ),
]

# RFC 9112 3.2: characters that are invalid in a URI: SHOULD be 400, or 301 to the encoded target,
# and SHOULD NOT be corrected silently.
_NO_URI_CHARACTERS = {
    "quote": '"',
    "less": "<",
    "greater": ">",
    "backslash": "\\",
    "caret": "^",
    "backtick": "`",
    "brace-open": "{",
    "bar": "|",
    "brace-close": "}",
}
unencoded = [
    *(
        row(
            f"target-unencoded-{name}-in-{where}",
            "9112 3.2",
            SHOULD,
            get(before + character + after),
            BAD | expect(301, location=location_of(f"{before}%{ord(character):02X}{after}")),
            aserve=expect(301, location=f"{before}%{ord(character):02X}{after}"),
        )
        for name, character in _NO_URI_CHARACTERS.items()
        for where, before, after in (("path", "/a", "b.txt"), ("query", "/hello.txt?a", "b"))
    ),
    *(
        row(
            f"target-unencoded-{name}",
            "9112 3.2",
            SHOULD,
            [raw(b"GET " + target + b" HTTP/1.1\r\nHost: test\r\n\r\n")],
            expect(400, 301),
            after=CLOSED,
            rfc_after=EITHER,
            aserve=BAD,
        )
        for name, target in {
            "space": b"/with space.txt",
            "space-in-query": b"/hello.txt?a b",
            "tab": b"/with\tspace.txt",
            "nul": b"/hello.txt\x00",
            "control": b"/hello\x01.txt",
            "delete": b"/hello\x7f.txt",
        }.items()
    ),
    *(
        row(
            f"target-unencoded-{name}",
            "9112 3.2",
            SHOULD,
            [raw(b"GET " + target + b" HTTP/1.1\r\nHost: test\r\n\r\n")],
            expect(400, 301),
            rfc_after=EITHER,
            aserve=expect(301, location=location),
        )
        for name, target, location in (
            ("utf-8", "/grüße.txt".encode(), "/gr%C3%BC%C3%9Fe.txt"),
            ("latin-1", b"/gr\xfc\xdfe.txt", "/gr%FC%DFe.txt"),
            ("utf-8-in-query", "/hello.txt?grüße".encode(), "/hello.txt?gr%C3%BC%C3%9Fe"),
        )
    ),
    *(
        row(
            f"target-unencoded-{name}",
            "9112 3.2",
            OURS,
            [raw(method + b" " + target + b" HTTP/1.1\r\nHost: test\r\n\r\n")],
            expected,
        )
        for name, method, target, expected in (
            (
                "utf-8-in-absolute-form",
                b"GET",
                "http://test/grüße.txt?ü".encode(),
                expect(301, location="/gr%C3%BC%C3%9Fe.txt?%C3%BC"),
            ),
            ("utf-8-with-head", b"HEAD", "/ü".encode(), expect(301, location="/%C3%BC", body=b"")),
            ("utf-8-with-post", b"POST", "/ü".encode(), expect(405)),
            ("utf-8-in-host", b"GET", "http://tést/".encode(), expect(400)),
            ("utf-8-in-asterisk-form", b"OPTIONS", "*ü".encode(), expect(400)),
        )
    ),
    # ADR 3: browsers send [ and ] unescaped, in paths and in queries.
    *(
        row(f"target-unencoded-brackets-in-{where}", "3986 3.3", OURS, get(target), expected)
        for where, target, expected in (
            ("path", "/missing[1].txt", expect(404)),
            ("query", "/hello.txt?a[]=1", expect(200)),
        )
    ),
]

escapes = [
    file("escaped-letter", "/%68ello.txt", "hello.txt", "3986 6.2.2.2"),
    file("escaped-dot", "/hello%2etxt", "hello.txt", "3986 6.2.2.2"),
    file("escaped-everything", "/%68%65%6C%6c%6F%2E%74%78%74", "hello.txt", "3986 6.2.2.2"),
    file("space", "/with%20space.txt", "with space.txt"),
    file("utf-8", "/gr%C3%BC%C3%9Fe.txt", "grüße.txt"),
    file("utf-8-lower-case", "/gr%c3%bc%c3%9fe.txt", "grüße.txt", "3986 6.2.2.1"),
    file("utf-8-greek", "/%CE%BA%CF%8C%CF%83%CE%BC%CE%B5.txt", "κόσμε.txt"),
    file("percent", "/100%25.txt", "100%.txt", "3986 2.4"),
    # RFC 3986 2.4: never decode the same string twice.
    file("percent-41", "/%2541.txt", "%41.txt", "3986 2.4"),
    file("letter-a", "/%41.txt", "A.txt", "3986 2.4"),
    file("sub-delims", "/odd!$&'()*+,;=:@-._~.txt", "odd!$&'()*+,;=:@-._~.txt", "3986 3.3"),
    file(
        "sub-delims-escaped",
        "/odd%21%24%26%27%28%29%2A%2B%2C%3B%3D%3A%40%2D%2E%5F%7E.txt",
        "odd!$&'()*+,;=:@-._~.txt",
        "3986 2.2",
        OURS,
    ),
    file("plus-is-no-space", "/a+b.txt", "a+b.txt", "3986 3.3"),
    file("backslash", "/back%5Cslash.txt", "back\\slash.txt"),
    file("quote", "/quo%22te.txt", 'quo"te.txt'),
    file("question-mark", "/ques%3Ftion.txt", "ques?tion.txt"),
    file("hash", "/ha%23sh.txt", "ha#sh.txt"),
    file("braces", "/brace%7B%7D%7C%5E%60.txt", "brace{}|^`.txt"),
    file("deep", "/deep/er/file.txt", "deep/er/file.txt", "3986 3.3"),
    row("target-escaped-twice", "3986 2.4", MUST, get("/%2568ello.txt"), MISSING),
    row("target-case-sensitive", "9110 4.2.3", MUST, get("/HELLO.TXT"), MISSING),
    *(
        row(f"target-escape-{name}", "9112 3.2", SHOULD, get(target), BAD | expect(301), aserve=BAD)
        for name, target in {
            "alone": "/hello.txt%",
            "of-one-digit": "/hello.txt%2",
            "of-no-digits": "/%zzhello.txt",
            "of-one-good-digit": "/%2ghello.txt",
            "of-unicode": "/%u0068ello.txt",
            "in-query": "/hello.txt?%zz",
            "signed": "/%+8ello.txt",
        }.items()
    ),
    row("target-escaped-nul", "3986 7.3", OURS, get("/hello.txt%00"), BAD | MISSING, aserve=BAD),
    row(
        "target-escaped-nul-cuts-no-suffix",
        "3986 7.3",
        OURS,
        get("/hello.txt%00.html"),
        BAD | MISSING,
        aserve=BAD,
    ),
    # RFC 3986 2.2: an escaped reserved character is data, not a delimiter.
    row(
        "target-escaped-slash",
        "3986 2.2",
        OURS,
        get("/sub%2Fpage.html"),
        expect(404, 400),
        aserve=MISSING,
    ),
    row(
        "target-escaped-slash-lower-case",
        "3986 2.2",
        OURS,
        get("/sub%2fpage.html"),
        expect(404, 400),
        aserve=MISSING,
    ),
    row(
        "target-escaped-line-end", "9110 17.2", OURS, get("/a%0D%0AX-A:%20b"), expect(404, x_a=None)
    ),
    row(
        "target-escaped-line-end-in-directory",
        "9110 17.2",
        OURS,
        get("/sub/%0d%0aSet-Cookie:%20x"),
        expect(404, set_cookie=None),
    ),
    row("target-bad-utf-8", "3986 2.5", OURS, get("/%FF%FE.txt"), MISSING),
    row("target-overlong-utf-8", "3629 10", OURS, get("/%C0%AE%C0%AE/hello.txt"), MISSING),
    row("target-name-too-long", "9110 15.5.5", OURS, get("/" + "a" * 300), MISSING),
    row("target-path-too-long", "9110 15.5.5", OURS, get("/a" * 3_000), MISSING),
]

dots = [
    file("dot-segment", "/./hello.txt", "hello.txt", "3986 5.2.4", SHOULD),
    file("dot-dot-segment", "/sub/../hello.txt", "hello.txt", "3986 5.2.4", SHOULD),
    file("dot-segments-escaped", "/sub/%2e%2E/%2e/hello.txt", "hello.txt", "3986 6.2.2.3", SHOULD),
    file("dot-dot-of-what-is-not-there", "/missing/../hello.txt", "hello.txt", "3986 5.2.4", OURS),
    file("dot-dot-above-root", "/../hello.txt", "hello.txt", "3986 5.2.4", OURS),
    file("dot-dot-above-root-twice", "/../../hello.txt", "hello.txt", "3986 5.2.4", OURS),
    file("dot-dot-at-end", "/sub/..", "index.html", "3986 5.2.4", OURS),
    file("dot-at-end", "/sub/.", "sub/index.html", "3986 5.2.4", OURS),
    file("slashes-doubled", "/sub//page.html", "sub/page.html", "3986 3.3", OURS),
    file("slashes-leading", "//hello.txt", "hello.txt", "3986 3.3", OURS),
    file("slashes-only", "///", "index.html", "3986 3.3", OURS),
    *(
        row(
            f"secret-{name}",
            "9110 17.3",
            OURS,
            get(target),
            expect(*range(200, 600), body=keeps_secrets),
            after=EITHER,
            aserve=expect(404, 400, body=keeps_secrets),
        )
        for name, target in {
            "dot-dot": "/../outside/secret.txt",
            "dot-dot-deep": "/sub/../../outside/secret.txt",
            "dot-dot-many": "/" + "../" * 30 + "etc/passwd",
            "escaped-dots": "/%2e%2e/outside/secret.txt",
            "escaped-dots-mixed": "/.%2E/outside/secret.txt",
            "escaped-slash": "/..%2foutside%2fsecret.txt",
            "escaped-all": "/%2e%2e%2foutside%2fsecret.txt",
            "escaped-twice": "/%252e%252e/outside/secret.txt",
            "escaped-backslash": "/..%5coutside%5csecret.txt",
            "backslash-in-segment": "/sub/..%5c..%5coutside/secret.txt",
            "overlong": "/%c0%ae%c0%ae/outside/secret.txt",
            "overlong-slash": "/..%c0%afoutside/secret.txt",
            "semicolon": "/..;/outside/secret.txt",
            "four-dots": "/....//outside/secret.txt",
            "nul": "/..%00/outside/secret.txt",
            "absolute": "//etc/passwd",
            "absolute-escaped": "/%2Fetc/passwd",
            "absolute-escaped-twice": "/%2F%2Fetc%2Fpasswd",
            "absolute-form": "http://test/../outside/secret.txt",
            "absolute-form-path": "http://test//etc/passwd",
            "after-file": "/hello.txt/../../outside/secret.txt",
            "proc": "/../../../../proc/self/environ",
            "link-to-file": "/outside.txt",
            "link-to-directory": "/outside-folder/secret.txt",
            "link-absolute": "/passwd",
            "link-then-dot-dot": "/inside-folder/../../outside/secret.txt",
            "dotfile": "/.hidden",
            "dotfile-escaped": "/%2ehidden",
            "dotfolder": "/.git/config",
            "dotfile-in-directory": "/sub/.hidden",
            "dotfile-in-well-known": "/.well-known/.hidden",
        }.items()
    ),
]

files = [
    file("well-known", "/.well-known/security.txt", ".well-known/security.txt", "8615 3", OURS),
    file("link-inside", "/inside.txt", "hello.txt", "aserve", OURS),
    file("link-inside-upward", "/sub/inside.txt", "hello.txt", "aserve", OURS),
    file("link-to-directory-inside", "/inside-folder/page.html", "sub/page.html", "aserve", OURS),
    file("link-absolute-inside", "/absolute-inside.txt", "hello.txt", "aserve", OURS),
    *(
        row(f"target-{name}", "9110 15.5.5", OURS, get(target), MISSING)
        for name, target in {
            "link-dangling": "/dangling.txt",
            "link-loop": "/loop.txt",
            "fifo": "/pipe",
            "unix-socket": "/socket",
            "missing": "/missing",
            "missing-in-missing": "/missing/missing.txt",
            "missing-in-file": "/hello.txt/more",
            "slash-after-file": "/hello.txt/",
            "dot-after-file": "/hello.txt/.",
            "dot-directory-itself": "/.git/",
        }.items()
    ),
    row(
        "target-missing-is-404",
        "9110 15.5.5",
        MUST,
        get("/missing.txt"),
        expect(404, 410),
        aserve=MISSING,
    ),
    row("target-index-by-name", "9110 9.3.1", OURS, get("/index.html"), expect(200, body=INDEX)),
    row("target-directory", "9110 9.3.1", OURS, get("/sub/"), expect(200, body=SUB_INDEX)),
    row("target-directory-without-index", "9110 9.3.1", OURS, get("/bare/"), expect(200)),
]

redirects = [
    redirected("directory", "/sub", "/sub/"),
    redirected("directory-deep", "/deep/er", "/deep/er/"),
    redirected("directory-with-query", "/sub?a=b&c=%2F", "/sub/?a=b&c=%2F"),
    redirected("directory-with-empty-query", "/sub?", "/sub/?"),
    redirected("directory-by-link", "/inside-folder", "/inside-folder/"),
    redirected("directory-without-index", "/bare", "/bare/"),
    redirected("directory-of-utf-8", "/w%C3%B6rter", "/w%C3%B6rter/"),
    redirected("directory-with-space", "/two%20words", "/two%20words/"),
    redirected("directory-absolute-form", "http://test/sub?x", "/sub/?x"),
    redirected("directory-of-dot-dot", "/deep/../sub", "/sub/"),
    # RFC 9110 17.4 in spirit: a Location of "//host" would lead to another server.
    redirected("no-open-door", "//sub", "/sub/"),
    redirected("no-open-door-slashes", "////sub", "/sub/"),
    redirected("no-open-door-dots", "//evil.example/../sub", "/sub/"),
    redirected("no-open-door-escaped-dots", "//evil.example/%2e%2e/sub", "/sub/"),
    redirected("no-open-door-absolute-form", "http://test//evil.example/../sub", "/sub/"),
    *(
        row(
            f"redirect-no-open-door-{name}",
            "9110 15.4.2",
            OURS,
            get(target),
            expect(*range(200, 600), location=None)
            | expect(*REDIRECTS, location=re.compile(r"(http://test(:\d+)?)?/(?![/\\]).*")),
        )
        for name, target in {
            "host": "//evil.example",
            "host-with-slash": "//evil.example/",
            "backslash": "/\\evil.example",
            "escaped-backslash": "/%5Cevil.example/%2e%2e/sub",
            "escaped-slash": "/%2Fevil.example/%2e%2e/sub",
            "dot": "/.//evil.example/../sub",
            "dot-dot": "/sub/..//evil.example/..//sub",
        }.items()
    ),
    row(
        "redirect-splits-no-header",
        "9110 17.2",
        OURS,
        get("/sub?%0d%0aSet-Cookie:%20a=b"),
        expect(*REDIRECTS, set_cookie=None, location=re.compile(r"[!-~]+")),
        aserve=expect(301, set_cookie=None, location="/sub/?%0d%0aSet-Cookie:%20a=b"),
    ),
    row(
        "redirect-head",
        "9110 9.3.2",
        MUST,
        head("/sub"),
        expect(*REDIRECTS, body=b""),
        aserve=expect(301, location="/sub/", body=b""),
    ),
    row(
        "redirect-shows-the-location",
        "9110 15.4.2",
        OURS,
        get("/sub"),
        expect(
            301, content_type=re.compile("text/.*"), body=lambda response: len(response.body) > 0
        ),
    ),
    row(
        "redirect-not-for-options",
        "9110 9.3.7",
        OURS,
        request("OPTIONS", "/sub"),
        expect(200, 204, 405),
        aserve=expect(200, 204),
    ),
]

ROWS: list[Row] = [*forms, *unencoded, *escapes, *dots, *files, *redirects]
