"""The page of explain in a real browser: every model, two languages, two schemes, two widths."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from tests.test_browser import chromium
from tests.test_folder_page import browser, emulate, find

__all__ = ["browser", "chromium"]  # fixtures

pytestmark = pytest.mark.browser

# What does not fit where it is: wider than the window, or than the box that it is in.
MISFITS = """
const found = [];
for (const element of document.querySelectorAll("body *")) {
  if (!element.checkVisibility() || element.closest("svg, select")) continue;
  const box = element.getBoundingClientRect();
  const name = `${element.tagName}.${element.className} ${element.textContent.slice(0, 60)}`;
  if (box.right > innerWidth + 1 || (box.left < -1 && !element.matches("legend"))) found.push(name);
  if (element.matches(".lane")) {
    const text = element.firstElementChild.getBoundingClientRect();
    if (text.height > box.height + 1 || text.width > box.width + 1) found.push(`clipped ${name}`);
  } else if (element.matches("li, summary, p, button, code") &&
             element.scrollWidth > element.clientWidth + 1 && element.clientWidth) {
    found.push(`overflows ${name}`);
  }
}
if (document.documentElement.scrollWidth > innerWidth) found.push("the page scrolls sideways");
return found;
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of all models, from one run of the program."""
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    directory = tmp_path_factory.mktemp("explain")
    (directory / "a.txt").write_text("hello")
    file = directory / "page.html"
    command = [sys.executable, "-m", "aserve", "explain", str(directory), "/a.txt"]
    subprocess.run([*command, "--html", str(file)], check=True, timeout=300)
    return file


@pytest.fixture
def opened(browser: webdriver.Chrome, page: Path) -> Iterator[webdriver.Chrome]:
    browser.get(page.as_uri())
    browser.execute_script("location.hash = ''")
    browser.get(page.as_uri())
    yield browser
    assert browser.get_log("browser") == []


def models(browser: webdriver.Chrome) -> list[str]:
    return [one.get_attribute("id") for one in browser.find_elements(By.CSS_SELECTOR, ".model")]


def position(browser: webdriver.Chrome) -> int:
    return int(find(browser, "#step").get_attribute("value"))


def press(browser: webdriver.Chrome, key: str) -> None:
    find(browser, "body").send_keys(key)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_model_fits_in_both_languages(opened: webdriver.Chrome, width, scheme) -> None:
    emulate(opened, width, scheme)
    for model in models(opened):
        opened.execute_script("location.hash = arguments[0]", model)
        WebDriverWait(opened, 20).until(
            lambda driver, model=model: find(driver, f"#{model}").is_displayed()
        )
        for language in ("zh", "en"):
            find(opened, f"#{language}").click()
            assert opened.execute_script(MISFITS) == [], (model, language)
            hidden = "en" if language == "zh" else "zh"
            texts = opened.find_elements(By.CSS_SELECTOR, f"#{model} span[lang={hidden}]")
            assert not any(text.is_displayed() for text in texts[:5])


def test_steps_by_keys_by_buttons_and_by_playing(opened: webdriver.Chrome) -> None:
    last = position(opened)
    assert last == len(opened.find_elements(By.CSS_SELECTOR, ".shown .grid li")) - 1
    press(opened, Keys.HOME)
    assert position(opened) == 0
    press(opened, Keys.ARROW_RIGHT)
    find(opened, "#forward").click()
    assert position(opened) == 2
    press(opened, Keys.ARROW_LEFT)
    find(opened, "#back").click()
    assert position(opened) == 0
    press(opened, Keys.ARROW_LEFT)
    assert position(opened) == 0
    marked = opened.find_elements(By.CSS_SELECTOR, ".shown .grid li.now")
    assert len(marked) == 1
    summary = marked[0].find_element(By.CSS_SELECTOR, "summary, p")
    assert summary.text in find(opened, ".player .now").text
    find(opened, "#play").click()
    WebDriverWait(opened, 20).until(lambda driver: position(driver) >= 2)
    find(opened, "#play").click()
    press(opened, Keys.END)
    assert position(opened) == last
    assert not find(opened, ".shown .veil").is_displayed()


def test_a_step_shows_its_call_and_its_line_where_the_focus_is(opened: webdriver.Chrome) -> None:
    opened.execute_script("location.hash = 'm-epoll'")
    WebDriverWait(opened, 20).until(lambda driver: find(driver, "#m-epoll").is_displayed())
    # A row that scrolls below a resting pointer shows its call, too.
    ActionChains(opened).move_to_element(find(opened, ".player")).perform()
    opened.execute_script("""
        [...document.querySelectorAll(".shown summary")]
            .find(one => one.textContent.includes("reads 4")).focus();
    """)
    shown = find(opened, ".player .now").text
    assert "recvfrom(" in shown
    assert "aserve/transport/" in shown


def test_two_models_side_by_side(opened: webdriver.Chrome) -> None:
    emulate(opened, 1280, "light")
    opened.execute_script("location.hash = 'm-blocking'")
    WebDriverWait(opened, 20).until(lambda driver: find(driver, "#m-blocking").is_displayed())
    Select(find(opened, "#other")).select_by_value("m-epoll")
    left, right = find(opened, "#m-blocking").rect, find(opened, "#m-epoll").rect
    assert left["x"] + left["width"] <= right["x"]
    assert left["y"] == right["y"]
    assert opened.execute_script(MISFITS) == []
    press(opened, Keys.HOME)
    assert len(opened.find_elements(By.CSS_SELECTOR, ".grid li.now")) >= 2


def test_without_a_script_every_step_of_every_model_is_there(
    opened: webdriver.Chrome, page: Path
) -> None:
    opened.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    opened.get(page.as_uri())
    sections = opened.find_elements(By.CSS_SELECTOR, ".model")
    assert all(section.is_displayed() for section in sections)
    assert not find(opened, ".player").is_displayed()
    find(opened, "#zh").click()
    assert "看服务器怎样工作" in find(opened, "h1").text
    first = find(opened, ".grid summary")
    first.click()
    assert first.find_element(By.XPATH, "..").get_attribute("open")
