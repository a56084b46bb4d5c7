"""A script that starts aserve and stops it as soon as it has printed its banner."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.running import RunningServer


@pytest.mark.slow
def test_stopping_right_after_the_banner(serve: Callable[..., RunningServer], root: Path) -> None:
    for _ in range(5):
        serve(root).stop()
