"""A script that starts aserve and stops it: the banner is the sign that it may."""

from collections.abc import Callable
from pathlib import Path

from tests.clients.running import Running


def test_stopped_as_soon_as_it_says_where_it_is(serve: Callable[..., Running], root: Path) -> None:
    for _ in range(5):
        serve(root).stop()
