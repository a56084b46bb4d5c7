"""Chromium: it seeks in media with ranges, and revalidates its cache before it shows a page."""

import wave
from collections.abc import Callable
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.clients.running import RunningServer
from tests.test_browser import chromium, reload

__all__ = ["chromium"]  # a fixture

pytestmark = pytest.mark.browser


def test_seeking_in_audio_uses_ranges(
    chromium: webdriver.Chrome, serve: Callable[..., RunningServer], tmp_path: Path
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    with wave.open(str(site / "minute.wav"), "wb") as sound:
        sound.setparams((2, 2, 192_000, 0, "NONE", ""))  # far more than a browser buffers
        sound.writeframes(bytes(60 * 192_000 * 4))
    (site / "index.html").write_text(
        "<!doctype html>\n<audio src=minute.wav preload=metadata></audio>\n"
    )
    server = serve(site)
    chromium.get(server.url)
    position, end = chromium.execute_async_script("""
        const [done] = arguments, sound = document.querySelector("audio");
        sound.addEventListener("seeked", () => done([sound.currentTime, sound.seekable.end(0)]));
        if (sound.readyState) sound.currentTime = 50;
        else sound.addEventListener("loadedmetadata", () => { sound.currentTime = 50; });
    """)
    chromium.get("about:blank")
    assert position == pytest.approx(50)
    assert end == pytest.approx(60, abs=0.1)
    requests = [entry for entry in server.stop() if entry.target == "/minute.wav"]
    assert {entry.status for entry in requests} <= {206, 304}  # some parts may be in its cache
    # The start of the file and its end from near the position, but not what lies between.
    assert len([entry for entry in requests if entry.status == 206]) > 1
    assert sum(entry.size for entry in requests) < (site / "minute.wav").stat().st_size


def test_a_page_is_never_stale(
    chromium: webdriver.Chrome, serve: Callable[..., RunningServer], tmp_path: Path
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text(
        "<!doctype html>\n<link rel=icon href=data:,>\n"
        "<link rel=stylesheet href=style.css>\n<p>first</p>\n"
    )
    (site / "style.css").write_text("p { font-style: italic }")
    server = serve(site)

    def shown() -> tuple[str, str]:
        paragraph = chromium.find_element(By.TAG_NAME, "p")
        return paragraph.text, paragraph.value_of_css_property("font-style")

    chromium.get(server.url)
    assert shown() == ("first", "italic")
    chromium.get("about:blank")
    chromium.get(server.url)  # from its cache, after the server has confirmed it
    assert shown() == ("first", "italic")
    reload(chromium)
    assert shown() == ("first", "italic")
    page = (site / "index.html").read_text()
    (site / "index.html").write_text(page.replace("first", "other"))  # of the same size
    reload(chromium)
    assert shown() == ("other", "italic")
    requests = server.stop()
    assert [entry.status for entry in requests if entry.target == "/"] == [200, 304, 304, 200]
    assert [entry.status for entry in requests if entry.target == "/style.css"] == [
        200,
        304,
        304,
        304,
    ]
