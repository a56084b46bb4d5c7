"""The pages of errors and redirects, as HTML."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.http.error_pages import error_response
from aserve.http.messages import REASON_PHRASES, HttpError, Request
from tests.aserve.handlers.parsed_page import ParsedPage

BROWSER = Request("GET", "/", headers={"accept": "text/html,*/*;q=0.8"})


def page(error: HttpError) -> ParsedPage:
    (body,) = error_response(BROWSER, error).body
    assert isinstance(body, bytes)
    return ParsedPage(body)


@pytest.mark.parametrize("status", [400, 404, 413, 503])
def test_an_error_is_named_and_explained(status: int) -> None:
    shown = page(HttpError(status, "It <broke> & ended."))
    assert shown.one("title").text == f"{status} {REASON_PHRASES[status]}"
    assert shown.one("h1").text == f"{status} {REASON_PHRASES[status]}"
    assert shown.one("p").text == "It <broke> & ended."
    assert shown.one("html")["lang"] == "en"
    assert not shown.all("a")


@given(st.text(st.characters(codec="latin-1")))
def test_a_redirect_links_to_exactly_its_address(path: str) -> None:
    location = f"/{path}"
    shown = page(HttpError(301, "It is elsewhere.", (("Location", location),)))
    assert shown.shape() == page(HttpError(301, "", (("Location", "/"),))).shape()
    assert shown.one("a")["href"] == location
