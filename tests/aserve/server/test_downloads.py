"""What counts as a download."""

import pytest

from aserve.http.messages import Request
from aserve.server.downloads import is_download


def get(target: str, method: str = "GET", **headers: str) -> Request:
    return Request(method, target, headers=headers)


@pytest.mark.parametrize(
    "request_and_status",
    [
        (get("/film.mkv"), 200),
        (get("/film.mkv?v=2"), 200),
        (get("/folder/?archive=zip"), 200),
        (get("/folder/?sort=name&archive=tar"), 200),
        (get("/film.mkv", range="bytes=0-"), 206),
    ],
)
def test_what_is_a_download(request_and_status: tuple[Request, int]) -> None:
    request, status = request_and_status
    assert is_download(request, status, truncated=False)
    assert not is_download(request, status, truncated=True)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get("/film.mkv", "HEAD"), 200),
        (get("/film.mkv", "POST"), 200),
        (get("/film.mkv"), 304),
        (get("/film.mkv"), 404),
        (get("/film.mkv"), 308),
        (get("/film.mkv", range="bytes=100-"), 206),
        (get("/film.mkv", range="bytes=0-99"), 206),
        (get("/film.mkv", range="bytes=0-,0-"), 206),
        (get("/"), 200),
        (get("/folder/"), 200),
        (get("/folder/?format=json"), 200),
        (get("/folder/?q=archive"), 200),
        (get("/.aserve/ca.pem"), 200),
        (get(""), 400),
    ],
)
def test_what_is_none(request_: Request, status: int) -> None:
    assert not is_download(request_, status, truncated=False)
