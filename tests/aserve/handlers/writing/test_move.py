"""MOVE as RFC 4918 section 9.9 has it, to names that are free."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.aserve.handlers.writing.test_post import Site, serving


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    for name in ("in/folder", "add", "other"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("in/a.txt", "in/b.txt", "in/folder/c.txt", "in/.hidden", "add/a.txt", "file"):
        (tmp_path / name).write_text(name)
    with serving(tmp_path, write=("/in", "add:/add")) as site:
        yield site


def tree(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()
    }


def test_a_file_gets_another_name(site: Site) -> None:
    tag = site.send("HEAD", "/in/a.txt").headers["ETag"]
    answer = site.send("MOVE", "/in/a.txt", Destination="/in/folder/new%20name.txt", If_Match=tag)
    assert (answer.status, answer.headers["Location"]) == (201, "/in/folder/new%20name.txt")
    assert site.send("GET", "/in/a.txt").status == 404
    assert site.send("GET", "/in/folder/new%20name.txt").text == "in/a.txt"


def test_a_folder_is_moved_with_what_is_in_it(site: Site) -> None:
    host = f"{site.address[0]}:{site.address[1]}"
    # RFC 4918 section 10.3; the scheme may be that of a proxy.
    answer = site.send("MOVE", "/in/folder/", Destination=f"https://{host}/in/moved/")
    assert (answer.status, answer.headers["Location"]) == (201, "/in/moved/")
    assert site.send("GET", "/in/moved/c.txt").text == "in/folder/c.txt"


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/in/a.txt", {}, 400),
        ("/in/a.txt", {"Destination": "a.txt"}, 400),
        ("/in/a.txt", {"Destination": "http://[/"}, 400),
        ("/in/a.txt", {"Destination": "http://elsewhere.example/in/x"}, 502),
        # RFC 4918 section 9.9.4; that nothing is replaced without Overwrite: F is our own rule.
        ("/in/a.txt", {"Destination": "/in/b.txt", "Overwrite": "F"}, 412),
        ("/in/a.txt", {"Destination": "/in/b.txt"}, 412),
        ("/in/a.txt", {"Destination": "/in/x", "If_Match": '"other"'}, 412),
        ("/in/a.txt", {"Destination": "/in/missing/x"}, 409),
        ("/in/a.txt", {"Destination": "/in/.x"}, 403),
        ("/in/a.txt", {"Destination": "/in/x.pem"}, 403),
        ("/in/a.txt", {"Destination": "/x"}, 403),
        ("/in/a.txt", {"Destination": "/in/../x"}, 403),
        ("/in/a.txt", {"Destination": "/add/x"}, 403),
        ("/in/folder", {"Destination": "/in/folder/x"}, 403),
        ("/in/.hidden", {"Destination": "/in/x"}, 404),
        ("/in/missing", {"Destination": "/in/x"}, 404),
        ("/file", {"Destination": "/in/x"}, 405),
        ("/in", {"Destination": "/in/x"}, 405),
        ("/add/a.txt", {"Destination": "/add/x"}, 405),
    ],
)
def test_what_cannot_be_moved_stays(
    path: str, headers: dict[str, str], status: int, site: Site
) -> None:
    before = tree(site.root)
    answer = site.send("MOVE", path, **headers)
    assert (answer.status, tree(site.root)) == (status, before)
    if status == 405:
        assert "MOVE" not in answer.headers["Allow"]
