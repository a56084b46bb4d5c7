import pytest

from aserve.semantics.media import media_type


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"index.html", "text/html; charset=utf-8"),
        (b"app.JS", "text/javascript; charset=utf-8"),
        (b"data.json", "application/json"),
        (b"mark.svg", "image/svg+xml"),
        (b"app.wasm", "application/wasm"),
        (b"site.tar.gz", "application/gzip"),
        (b"README", "application/octet-stream"),
        (b".html", "application/octet-stream"),
        (b"a.unheard-of", "application/octet-stream"),
        (b"\xff.html", "text/html; charset=utf-8"),
    ],
)
def test_a_type_by_suffix(name, expected):
    assert media_type(name) == expected
