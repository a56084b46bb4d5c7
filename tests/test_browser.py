"""The sample site in a real browser: each response may be right and the page still broken."""

import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.clients.running import program

pytestmark = pytest.mark.browser

WWW = Path(__file__).parent.parent / "www"


@contextmanager
def served(root: Path) -> Iterator[str]:
    """Serve a directory by the program until the block ends; yield its URL."""
    command = [sys.executable, "-m", "aserve", str(root), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            yield next(w for line in server.stderr for w in line.split() if w.startswith("http://"))
        finally:
            server.terminate()
    assert server.returncode == 0


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with served(WWW) as url:
        yield url


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = Options()
    # Both paths are given: selenium would download a program that it has to look for.
    options.binary_location = program("chromium")
    service = Service(program("chromedriver"))
    for argument in (
        "--headless",
        "--no-sandbox",  # its sandbox refuses to run as root, which CI is
        "--disable-dev-shm-usage",  # a container's /dev/shm can be too small
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--force-prefers-reduced-motion",  # a page that still scrolls cannot be clicked reliably
        "--window-size=1280,1000",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=service) as driver:
        yield driver


def reload(driver: webdriver.Chrome) -> None:
    """Load the page again as a person does, and wait until the new one is complete.

    Not by `driver.refresh()`: its driver asks the page that it replaces, and now and then fails
    by "aborted by navigation" or waits for its timeout, once in a thousand on two busy cores.
    """
    driver.execute_script("window.isReplaced = true")
    driver.execute_cdp_cmd("Page.reload", {})
    loaded = "return !window.isReplaced && document.readyState === 'complete'"
    WebDriverWait(driver, 60, ignored_exceptions=[WebDriverException]).until(
        lambda driver: driver.execute_script(loaded), "the page was not loaded again"
    )


@pytest.fixture
def page(chromium: webdriver.Chrome, site: str) -> webdriver.Chrome:
    """The front page, completely loaded."""
    chromium.get_log("browser")  # reading clears it: this must not show errors of an earlier test
    chromium.get(site)
    WebDriverWait(chromium, 20).until(
        lambda driver: driver.find_elements(By.CSS_SELECTOR, "html[data-ready]"),
        "the module did not run to its end",
    )
    return chromium


def pixels(png: bytes) -> bytes:
    """Return the uncompressed, still filtered bytes of a PNG: a blank one is nearly all zeros."""
    data, position = b"", 8
    while position < len(png):
        length = int.from_bytes(png[position : position + 4])
        if png[position + 4 : position + 8] == b"IDAT":
            data += png[position + 8 : position + 8 + length]
        position += length + 12
    return zlib.decompress(data)


def test_the_page_is_complete(page: webdriver.Chrome) -> None:
    assert page.title == "aserve: it works"
    assert page.execute_script("return getComputedStyle(document.body).maxWidth") == "960px"
    widths = page.execute_script("return [...document.images].map(image => image.naturalWidth)")
    assert len(widths) == 3
    assert all(widths)
    assert len(set(pixels(page.get_screenshot_as_png()))) > 50
    assert page.get_log("browser") == []


def test_every_part_is_loaded(page: webdriver.Chrome) -> None:
    answers = [output.text for output in page.find_elements(By.TAG_NAME, "output")]
    assert len(answers) == len(page.find_elements(By.CSS_SELECTOR, ".parts li"))
    assert all(answer.startswith("200 · ") for answer in answers)


def test_each_button_shows_its_response(page: webdriver.Chrome) -> None:
    statuses = []
    for button in page.find_elements(By.CSS_SELECTOR, "#ask button"):
        button.click()
        WebDriverWait(page, 10).until(lambda _, b=button: b.get_attribute("aria-pressed") == "true")
        statuses.append(page.find_element(By.CSS_SELECTOR, "#reply b").text.split()[0])
    assert statuses == ["200", "304", "206", "404", "405"]


def test_the_audio_can_be_seeked(page: webdriver.Chrome) -> None:
    position, end = page.execute_async_script("""
        const [done] = arguments, sound = document.querySelector("audio");
        sound.addEventListener("seeked", () => done([sound.currentTime, sound.seekable.end(0)]));
        if (sound.readyState) sound.currentTime = 5;
        else sound.addEventListener("loadedmetadata", () => { sound.currentTime = 5; });
    """)
    assert position == pytest.approx(5)
    assert end == pytest.approx(8, abs=0.1)


def test_a_file_name_and_text_beyond_ascii(page: webdriver.Chrome) -> None:
    page.find_element(By.LINK_TEXT, "grüße-κόσμε.txt").click()
    page_type = page.execute_script("return [document.contentType, document.characterSet]")
    assert page_type == ["text/plain", "UTF-8"]
    assert "안녕, 세상아!" in page.find_element(By.TAG_NAME, "body").text


def test_a_directory_is_redirected_to_its_slash(page: webdriver.Chrome, site: str) -> None:
    page.get(f"{site}guide")
    assert page.current_url == f"{site}guide/"
    assert page.title == "The trip of one request"
    assert page.execute_script("return getComputedStyle(document.body).maxWidth") == "960px"
