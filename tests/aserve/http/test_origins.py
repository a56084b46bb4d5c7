"""Origins that a site's owner lists."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.http.origins import Origins


@pytest.mark.parametrize(
    ("listed", "inside", "outside"),
    [
        ("https://app.test", ["https://app.test", "HTTPS://App.test"], ["http://app.test", "null"]),
        ("https://a.test", ["https://a.test"], ["https://a.test:8443", "https://a.test.evil.test"]),
        ("https://a.test:443", ["https://a.test"], ["https://a.test:80"]),
        ("http://a.test:8000", ["http://a.test:8000"], ["http://a.test", "http://a.test:80001"]),
        ("https://*.a.test", ["https://b.a.test", "https://c.b.a.test"], ["https://a.test"]),
        ("https://*.a.test", [], ["https://evila.test", "https://evil.test/.a.test"]),
        ("https://*.a.test", [], ["https://user@b.a.test", "https://evil.test:1.a.test"]),
        (
            "http://localhost:*",
            ["http://localhost:3000", "http://localhost"],
            ["http://localhost:"],
        ),
        ("http://[::1]:3000", ["http://[::1]:3000"], ["http://[::2]:3000"]),
        ("capacitor://localhost", ["capacitor://localhost"], ["http://localhost"]),
        ("https://axtest", [], ["https://a.test", "https://axtest\nx"]),
        ("*", ["https://a.test", "null", "anything"], []),
    ],
)
def test_origins_are_those_of_the_list(listed, inside, outside):
    origins = Origins([listed, *(["https://other.test"] if listed != "*" else [])])
    assert [origin for origin in inside if origin not in origins] == []
    assert [origin for origin in outside if origin in origins] == []


@pytest.mark.parametrize(
    "text",
    [
        *("", "app.test", "https://app.test/", "https://app.test/a", "null", "https://*"),
        *("https://a.*.test", "https://u@a.test", "https://a b", "https://a.test:x", "//a.test"),
    ],
)
def test_what_is_no_origin_is_refused(text):
    with pytest.raises(ValueError, match=r"must be an origin such as https://app\.test, or "):
        Origins([text])


def test_any_origin_stands_alone():
    with pytest.raises(ValueError, match="stands alone"):
        Origins(["*", "https://a.test"])


@given(st.from_regex(r"https://(\*\.)?[a-z.]{1,5}(:[0-9]{1,3})?", fullmatch=True), st.text())
def test_no_text_is_inside_but_the_origin_itself_and_its_subdomains(listed, text):
    origins = Origins([listed])
    host = listed.removeprefix("https://").removeprefix("*.").removesuffix(":443")
    if f"https://{text}{host}" in origins:
        assert not text or (text.endswith(".") and "*" in listed)
        assert not set(text) & set("/@:?#")
    assert text not in origins
