"""A test of a site that asks a server for more than files: one path is answered by the test.

pytest examples/test_with_a_handler.py
"""

import json
import urllib.request
from pathlib import Path

import aserve


class Now:
    """Answers with the time, as JSON."""

    def handle(self, request: aserve.Request, context: aserve.RequestContext) -> aserve.Response:
        """Return the response, or raise the error that is one."""
        if request.method != "GET":
            raise aserve.HttpError(405, "Only GET is answered.", (("Allow", "GET"),))
        body = json.dumps({"now": context.now}).encode()
        return aserve.Response(200, (("Content-Type", "application/json"),), (body,))


def test_the_page_and_what_it_asks_for(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<script>fetch('/api/now')</script>")
    with aserve.Server(tmp_path, handlers={"/api/now": Now()}) as server:
        with urllib.request.urlopen(server.url) as page:
            assert b"fetch" in page.read()
        with urllib.request.urlopen(f"{server.url}api/now") as answer:
            assert json.load(answer)["now"] > 0
