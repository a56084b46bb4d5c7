"""Settings that name pages: whatever they are, they stay beneath the root."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.config.pages import parse_error_page, parse_error_pages, parse_page
from aserve.http.messages import REASON_PHRASES
from aserve.http.request_target import TargetPath

TEXTS = st.text(st.sampled_from("/.a\0x=é%45*"), max_size=12)


def page(*names: bytes) -> TargetPath:
    return TargetPath(names, is_directory=False)


@given(TEXTS)
def test_a_page_is_a_file_beneath_the_root_or_none(text: str) -> None:
    found = parse_page(text)
    names = text.removeprefix("/").split("/")
    is_valid = not {"", ".", ".."} & set(names) and "\0" not in text
    assert found == (page(*(name.encode() for name in names)) if is_valid else None)


@given(TEXTS | TEXTS.map("404={}".format) | TEXTS.map("5xx={}".format))
def test_an_error_page_is_for_errors_and_beneath_the_root_or_none(text: str) -> None:
    pages = parse_error_page(text)
    status, _, path = text.partition("=")
    if pages:
        assert set(pages.values()) == {parse_page(path)}
        assert all(400 <= code <= 599 and str(code)[0] == status[0] for code in pages)
        assert set(pages) <= set(REASON_PHRASES)


@pytest.mark.parametrize("order", [1, -1])
def test_a_status_goes_before_its_class(order: int) -> None:
    pages = parse_error_pages(("404=none", "4xx=client", "5XX=server", "503=busy")[::order])
    assert (pages[404], pages[403], pages[410]) == (page(b"none"), page(b"client"), page(b"client"))
    assert (pages[500], pages[503]) == (page(b"server"), page(b"busy"))
    assert set(pages) == {code for code in REASON_PHRASES if code >= 400}


def test_the_last_of_two_pages_for_a_status_wins() -> None:
    assert parse_error_pages(("404=a", "404=b"))[404] == page(b"b")
