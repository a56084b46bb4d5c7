"""The examples of docs/rules.md give the answers that it says."""

import os
import re
from pathlib import Path

import pytest

from aserve.config.settings import Settings
from aserve.filesystem.mounts import Mounts
from aserve.handlers.handler import RequestContext
from aserve.http.messages import Request
from aserve.rules.dialects import DIALECTS
from aserve.server.site_factory import build_site

PAGE = (Path(__file__).parents[3] / "docs" / "rules.md").read_text()
NOW = 2_000_000_000
FILES = ("app/index.html", "app/main.js", "en/404.html", "taken", "assets/app.js")

SECTIONS = {
    title: (re.findall(r"\n`(_\w+)`:\n\n```\n(.*?)```", text, re.DOTALL), text)
    for title, text in re.findall(r"\n## ([^\n]*)\n(.*?)(?=\n## |\Z)", PAGE, re.DOTALL)
}
ROWS = [
    (title, files[0], *row)
    for title, (files, text) in SECTIONS.items()
    for row in re.findall(r"^\| `([^`]*)` \| (.*) \|$", text, re.MULTILINE)
]


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """Return what answers a request by the example of a section."""
    root = tmp_path_factory.mktemp("site")
    for name in FILES:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(name)

    def ask(title, file, target):
        for name in ("_headers", "_redirects"):
            (root / name).write_text(file[1] if name == file[0] else "")
            os.utime(root / name, (1, 1))
        dialect = title.rpartition(" ")[2].lower()
        site = build_site(
            Settings(
                root,
                rules_dialect=dialect if dialect in DIALECTS else "netlify",
                strict_rules=True,
            ),
            Mounts(),
        )
        request = Request("GET", target, 1, {"accept": "text/html, */*"})
        return site.handle(request, RequestContext(NOW))

    return ask


@pytest.mark.parametrize(("title", "file", "target", "answer"), ROWS)
def test_an_example_is_true(ask, title, file, target, answer):
    response = ask(title, file, target)
    if header := re.fullmatch(r"`([\w-]+): (.*)`", answer):
        assert (header[1], header[2]) in response.headers
        return
    status, _, rest = answer.partition(" ")
    location = re.findall(r"to `(.*)`", rest)
    body = re.findall(r"with `(.*)`", rest)
    assert response.status == int(status)
    assert [value for name, value in response.headers if name == "Location"] == location
    if body:
        assert [b"".join(response.body).decode()] == body


def test_there_are_examples_of_all_of_it():
    assert len(ROWS) >= 20
    assert {title for title, *_ in ROWS} == {
        "_redirects of Netlify",
        "_redirects of Cloudflare",
        "_headers",
    }
