"""Chromium: it seeks in media by ranges, and asks before it shows what it has kept."""

import wave
from collections.abc import Callable
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.clients.running import Running
from tests.test_browser import chromium

__all__ = ["chromium"]  # a fixture

pytestmark = pytest.mark.browser


def test_a_place_in_a_sound_is_sought_by_a_range(
    chromium: webdriver.Chrome, serve: Callable[..., Running], tmp_path: Path
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    with wave.open(str(site / "minute.wav"), "wb") as sound:
        sound.setparams((2, 2, 192_000, 0, "NONE", ""))  # far more than a browser keeps ready
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
    asked = [entry for entry in server.stop() if entry.target == "/minute.wav"]
    assert {entry.status for entry in asked} <= {206, 304}  # it may know some parts already
    # The head of the sound and its end from near the place, but not what lies between.
    assert len([entry for entry in asked if entry.status == 206]) > 1
    assert sum(entry.octets for entry in asked) < (site / "minute.wav").stat().st_size


def test_what_is_shown_is_never_stale(
    chromium: webdriver.Chrome, serve: Callable[..., Running], tmp_path: Path
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
    chromium.get(server.url)  # from what was kept, once the server says that it is still so
    assert shown() == ("first", "italic")
    chromium.refresh()
    assert shown() == ("first", "italic")
    page = (site / "index.html").read_text()
    (site / "index.html").write_text(page.replace("first", "other"))  # of the same length
    chromium.refresh()
    assert shown() == ("other", "italic")
    asked = server.stop()
    assert [entry.status for entry in asked if entry.target == "/"] == [200, 304, 304, 200]
    assert [entry.status for entry in asked if entry.target == "/style.css"] == [200, 304, 304, 304]
