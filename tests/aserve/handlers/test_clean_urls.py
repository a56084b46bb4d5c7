"""What URLs lead to, by the convention of each static host, over real sockets."""

from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import aserve
from aserve.config.settings import Settings
from aserve.filesystem.mounts import Mounts
from aserve.handlers.clean_urls import CONVENTIONS
from aserve.handlers.handler import RequestContext
from aserve.http.messages import Request
from aserve.server.site_factory import build_site

FILES = ("index.html", "file.html", "folder/index.html", "both.html", "both/index.html")

# The answers of https://github.com/slorber/trailing-slash-guide to the same five files, where each
# host is asked. A file: 200 with it. A URL: a redirect there.
TABLE = """
                    plain            github           netlify          cloudflare       vercel
/file               404              file.html        file.html        file.html        file.html
/file/              404              404              /file            /file            file.html
/file.html          file.html        file.html        file.html        /file            /file
/folder             /folder/         /folder/         /folder/         /folder/         folder/index.html
/folder/            folder/index.html folder/index.html folder/index.html folder/index.html folder/index.html
/folder/index.html  folder/index.html folder/index.html folder/index.html /folder/      /folder
/both               /both/           both.html        both.html        both.html        both.html
/both/              both/index.html  both/index.html  /both            both/index.html  both/index.html
/both.html          both.html        both.html        both.html        /both            /both
/                   index.html       index.html       index.html       index.html       index.html
/index.html         index.html       index.html       index.html       /                /
/missing            404              404              404              404              404
/missing.html       404              404              404              404              404
/missing/           404              404              404              404              404
"""  # noqa: E501 - a table

# Of GitHub Pages by github.com/isaacs/github/issues/289, of Netlify by
# github.com/dillonkearns/elm-pages/issues/340; of Cloudflare by its asset worker (workers-sdk), of
# Vercel by packages/routing-utils of vercel/vercel.
STATUSES = {"plain": 301, "github": 301, "netlify": 301, "cloudflare": 307, "vercel": 308}


def rows() -> Iterator[tuple[str, str, str]]:
    heading, *lines = TABLE.strip("\n").splitlines()
    for line in lines:
        target, *answers = line.split()
        for convention, answer in zip(heading.split(), answers, strict=True):
            yield convention, target, answer


class Sites:
    """A running server for each convention, with a connection to it."""

    def __init__(self, stack: ExitStack, root: Path) -> None:
        self._stack, self._root = stack, root
        self._clients: dict[str, HTTPConnection] = {}

    def get(self, convention: str, target: str) -> tuple[int, str, str]:
        """Return status, Location and body of the response."""
        if convention not in self._clients:
            server = self._stack.enter_context(aserve.Server(self._root, urls=convention))
            host = urlsplit(server.url).netloc
            self._clients[convention] = HTTPConnection(host, timeout=20)
            self._stack.callback(self._clients[convention].close)
        client = self._clients[convention]
        client.request("GET", target)
        response = client.getresponse()
        return response.status, response.getheader("Location", ""), response.read().decode()


def write(root: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    root = tmp_path_factory.mktemp("urls")
    write(root, FILES)
    with ExitStack() as stack:
        yield Sites(stack, root)


@pytest.mark.parametrize(("convention", "target", "expected"), list(rows()))
def test_a_url_leads_to_what_its_host_sends(
    sites: Sites, convention: str, target: str, expected: str
) -> None:
    status, location, body = sites.get(convention, target)
    if expected == "404":
        assert status == 404
    elif expected.startswith("/"):
        assert (status, location) == (STATUSES[convention], expected)
    else:
        assert (status, body) == (200, expected)


@pytest.mark.parametrize("convention", STATUSES)
def test_a_redirect_keeps_the_query(sites: Sites, convention: str) -> None:
    moved = [row for row in rows() if row[0] == convention and row[2].startswith("/")]
    for _, target, location in moved:
        assert sites.get(convention, f"{target}?a=1&b=%2F//evil.example")[:2] == (
            STATUSES[convention],
            f"{location}?a=1&b=%2F//evil.example",
        )
    assert moved


@pytest.mark.parametrize("convention", STATUSES)
def test_a_file_with_exactly_that_name_is_sent(tmp_path: Path, convention: str) -> None:
    write(tmp_path, ("file", "file.html", "file.html.html", "index", "index.html"))
    with ExitStack() as stack:
        sites = Sites(stack, tmp_path)
        for name in ("file", "file.html", "file.html.html", "index"):
            assert sites.get(convention, f"/{name}") == (200, "", name)


def test_other_names_of_an_index_are_hidden_too(tmp_path: Path) -> None:
    write(tmp_path, ("a/home.html", "b/home.html", "b/index.html"))
    with aserve.Server(tmp_path, urls="cloudflare", index=("index.html", "home.html")) as server:
        client = HTTPConnection(urlsplit(server.url).netloc, timeout=20)
        expected = {"/a/": 200, "/a/home.html": 307, "/a/home": 307, "/b/index": 307}
        expected["/b/home.html"] = 200  # /b/ sends another file
        for target, status in expected.items():
            client.request("HEAD", target)
            response = client.getresponse()
            response.read()
            assert (target, response.status) == (target, status)
        client.close()


# No redirect leaves the site or runs in a circle, whatever is asked.

_PIECES = (
    "/",
    "//",
    "\\",
    "%5c",
    "%2f",
    "%2F%2F",
    ".",
    "..",
    "%2e",
    ";",
    "@",
    ":",
    "?",
    "?//e.test",
)
_NAMES = (
    "e.test",
    "file",
    "folder",
    "both",
    "index",
    "home",
    ".html",
    "index.html",
    "%41",
    "~",
    "\xe9",
)
TARGETS = st.lists(st.sampled_from(_PIECES + _NAMES), max_size=8).map(
    lambda parts: "/" + "".join(parts)
)
ORIGINS = st.sampled_from(("", "http://a.test", "http://a.test:81"))
TREE = (
    *(
        "index.html",
        "file.html",
        "file.html.html",
        "both.html",
        "both/index.html",
        "both/both.html",
    ),
    *("folder/index.html", "folder/folder/home.html", "x.html/index.html", "index/index.html"),
    *(
        "e.test.html",
        "e.test/index.html",
        "\\e.test/index.html",
        "\\e.test.html",
        "A/index",
        "~.html",
    ),
    *("folder/e.test.html", "@.html", ":/index.html", "é.html", "404.html", "A.html/x"),
)
NAVIGATION = "\r\nSec-Fetch-Mode: navigate\r\n\r\n"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    write(root, TREE)
    return root


def follow(site, target: str, head: str) -> list[str]:
    """Return the targets that a browser asks for, one after the other."""
    asked = [target]
    while len(asked) < 9:
        response = site.handle(Request("GET", asked[-1], head=head), RequestContext(1_900_000_000))
        location = dict(response.headers).get("Location")
        if not 300 <= response.status < 400:
            assert location is None
            break
        assert location
        assert location[0] == "/"
        assert location[1:2] not in {"/", "\\"}
        assert urlsplit(urljoin("http://a.test/", location)).netloc == "a.test"
        asked.append(location)
    return asked


@pytest.fixture(scope="module", params=[*STATUSES])
def all_sites(request, tree):
    options = [
        {"urls": request.param, "decode_slashes": decode, "spa": spa, "index": index}
        for decode in (False, True)
        for spa, index in (("", ("index.html",)), ("index.html", ("home.html", "index.html")))
    ]
    return [build_site(Settings(tree, **each), Mounts()) for each in options]


@given(TARGETS, ORIGINS, st.sampled_from(("", NAVIGATION)))
@example("//e.test/..", "", "")
@example("/\\e.test", "", "")
@example("/%5ce.test", "", "")
@example("/.//e.test/", "", "")
@example("/%2f%2fe.test", "", "")
@example("/both/index.html?//e.test", "http://a.test", "")
@example("/file.html.html", "", "")
def test_redirects_stay_here_and_end(all_sites, target: str, origin: str, head: str) -> None:
    for site in all_sites:
        assert len(follow(site, origin + target, head)) <= 1 + 3


def test_each_convention_is_fuzzed() -> None:
    assert set(STATUSES) == {"plain", *CONVENTIONS}
