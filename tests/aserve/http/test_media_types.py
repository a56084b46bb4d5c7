import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.http.media_types import AddedType, MediaTypes, is_charset, parse_added_type

BUILT_IN = MediaTypes()


TYPES = [
    (b"index.html", "text/html; charset=utf-8"),
    (b"app.JS", "text/javascript; charset=utf-8"),
    (b"data.json", "application/json"),
    (b"mark.svg", "image/svg+xml"),
    (b"app.wasm", "application/wasm"),
    (b"site.tar.gz", "application/gzip"),
    (b".html", "application/octet-stream"),
    (b"a.unheard-of", "application/octet-stream"),
    (b"a.", "application/octet-stream"),
    (b"a.\xff", "application/octet-stream"),
    (b"\xff.html", "text/html; charset=utf-8"),
    # From the IANA registry first, then from jshttp/mime-db and nginx.
    (b"a.svgz", "image/svg+xml"),
    (b"a.cjs", "application/node"),
    (b"a.toml", "application/toml"),
    (b"a.m4s", "video/iso.segment"),
    (b"a.3gp", "video/3gpp"),
    (b"a.apk", "application/vnd.android.package-archive"),
    (b"a.srt", "application/x-subrip"),
    (b"a.vtt", "text/vtt; charset=utf-8"),
    (b"a.diff", "text/x-diff; charset=utf-8"),
    (b"a.jsonl", "application/jsonl"),
    (b"a.eot", "application/vnd.ms-fontobject"),
    (b"a.avif", "image/avif"),
    (b"a.webmanifest", "application/manifest+json"),
    # Without a suffix: well-known names.
    (b"README", "text/plain; charset=utf-8"),
    (b"license", "text/plain; charset=utf-8"),
    (b"Makefile", "text/plain; charset=utf-8"),
    (b"SHA256SUMS", "text/plain; charset=utf-8"),
    (b"apple-app-site-association", "application/json"),
    (b"openid-configuration", "application/json"),
    (b"a.out", "application/octet-stream"),
    (b"anything", "application/octet-stream"),
    (b"\xff", "application/octet-stream"),
]


def test_type_for_name():
    assert [(name, BUILT_IN.for_name(name).value) for name, _ in TYPES] == TYPES


XML_SUFFIXES = [
    *("xml", "xsl", "xsd", "rng", "xhtml", "xht", "svg", "svgz", "atom", "rss", "rdf", "kml"),
    *("gpx", "wsdl", "xslt", "ttml", "mpd", "dae"),
]


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", None])
def test_xml_types_get_no_charset(charset):
    """RFC 7303 section 3: a charset parameter would override the document."""
    media_types = MediaTypes(charset=charset)
    types = {suffix: media_types.for_name(f"a.{suffix}".encode()).value for suffix in XML_SUFFIXES}
    assert [suffix for suffix, found in types.items() if "charset" in found] == []


@pytest.mark.parametrize(
    ("charset", "html"),
    [
        ("utf-8", "text/html; charset=utf-8"),
        ("windows-1252", "text/html; charset=windows-1252"),
        (None, "text/html"),
    ],
)
def test_the_charset_of_text(charset, html):
    types = MediaTypes([AddedType("foo", "text/foo; charset=x")], charset)
    assert types.for_name(b"a.html").value == html
    assert types.for_name(b"a.json").value == "application/json"
    assert types.for_name(b"README").value == html.replace("html", "plain")
    assert types.for_name(b"a.foo").value == "text/foo; charset=x"


def test_an_added_type_overrides_the_built_in_one():
    added = [AddedType("txt", "text/x-mine"), AddedType("svgz", "application/gzip")]
    added += [AddedType("ts", "text/typescript"), AddedType("mine", "text/xml")]
    types = MediaTypes(added)
    assert types.for_name(b"a.TXT").value == "text/x-mine; charset=utf-8"
    assert types.for_name(b"a.ts").value == "text/typescript; charset=utf-8"
    assert types.for_name(b"a.mine").value == "text/xml"
    assert types.for_name(b"a.svgz") == ("application/gzip", "identity")
    assert BUILT_IN.for_name(b"a.SVGZ") == ("image/svg+xml", "gzip")
    assert BUILT_IN.for_name(b"a.gz") == ("application/gzip", "identity")


@pytest.mark.parametrize(
    ("text", "added"),
    [
        ("srt=text/plain", ("srt", "text/plain")),
        (".SRT=text/plain", ("srt", "text/plain")),
        ("a=text/x;charset=y", ("a", "text/x;charset=y")),
        ('a=text/x; p="q r"', ("a", 'text/x; p="q r"')),
        *((text, None) for text in ("", "=", "a", "a=", "=text/x", "a=text", "a=text/", "a=/x")),
        *((text, None) for text in ("a=text/x;", "a=text/x\r\nX: y", "a=t/x\n", "a/b=t/x")),
        *((text, None) for text in ("a.b=t/x", "a b=t/x", "a=t /x", "a=t/ü", "..a=t/x", "a=b=t/x")),
    ],
)
def test_parse_added_type(text, added):
    assert parse_added_type(text) == added


@given(st.text(max_size=20))
def test_an_accepted_type_or_charset_is_safe_in_a_header(text):
    for whole in (text, f"a={text}", f"a=b/{text}"):
        if added := parse_added_type(whole):
            assert added.media_type.isascii()
            assert added.media_type.isprintable()
    assert not is_charset(text) or (text.isascii() and text.isprintable() and " " not in text)
