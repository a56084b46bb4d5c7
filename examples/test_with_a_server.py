"""Tests of a site, with pytest: one server for all of them, on a port of its own.

pytest examples/test_with_a_server.py
"""

import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

import aserve


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve a directory; yield its URL, with a slash at the end."""
    directory = tmp_path_factory.mktemp("site")  # instead, use the directory of your site
    (directory / "index.html").write_text("<h1>Hello</h1>")
    with aserve.Server(directory) as server:
        yield server.url


def test_the_first_page(site: str) -> None:
    with urllib.request.urlopen(site) as page:
        assert page.status == 200
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert page.read() == b"<h1>Hello</h1>"


def test_a_page_that_does_not_exist(site: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404") as caught:
        urllib.request.urlopen(f"{site}missing.html")
    caught.value.close()
