"""The page of a folder in a real browser: by mouse, by keys, without a script, on a phone."""

import os
import shutil
import subprocess
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.aserve.handlers.test_listing_page import HOSTILE
from tests.test_browser import chromium, served

__all__ = ["chromium"]  # a fixture

pytestmark = pytest.mark.browser

AXE = "axe-core@4.14.1"
ATTACKS = [name for name in HOSTILE if not name.startswith(b".")]  # dotfiles are hidden
LONG_PATH = "sub/" + "n" * 255 + "/" + "a long name of words " * 10
FILES = {"b.txt": 2_500, "a.txt": 30, "C.txt": 1_000_000, "dot.png": 0, "README.md": 0}
DOT = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8"
    "cfc000000301010018dd8db00000000049454e44ae426082"
)
README = """# Things to know

![a dot](dot.png) ![elsewhere](http://127.0.0.1:9/x.png)
<script>document.title = "attacked"</script><img src=x onerror="document.title = 'attacked'">

[the folder](sub/) [attack](javascript:document.title='attacked')

```sh
aserve ~/Downloads --title "A line of code that is wider than the window of a phone, by far"
```

| one | two | three |
|-----|:---:|------:|
| a   | b   | c     |

- [x] done

> [!NOTE]
> Tested.
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with a README, one with names that attack, an empty one, and one for pages."""
    root = tmp_path_factory.mktemp("folder")
    for number, (name, size) in enumerate(FILES.items()):
        (root / name).write_bytes(bytes(size))
        os.utime(root / name, (1_700_000_000 + number, 1_700_000_000 + number))
    (root / "README.md").write_text(README)
    (root / "dot.png").write_bytes(DOT)
    (root / "favicon.ico").write_bytes(
        DOT + b"\0"
    )  # the browser asks for it, and logs that it is missing
    for name in ("sub", "empty", "hostile", "many"):
        (root / name).mkdir()
    (root / LONG_PATH).mkdir(parents=True)
    for name in ATTACKS:
        Path(os.fsdecode(os.fsencode(root / "hostile") + b"/" + name)).write_bytes(name)
    for number in range(25):
        (root / "many" / f"file-{number:02}.txt").touch()
    return root


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[str]:
    with served(folder) as url:
        yield url


@pytest.fixture
def browser(chromium: webdriver.Chrome) -> Iterator[webdriver.Chrome]:
    """Chromium as it is at first, whatever an earlier test has set."""
    chromium.get_log("browser")  # reading clears it
    yield chromium
    chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def emulate(browser: webdriver.Chrome, width: int, scheme: str) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 1_000, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def find(browser: webdriver.Chrome, selector: str) -> WebElement:
    return browser.find_element(By.CSS_SELECTOR, selector)


def load(browser: webdriver.Chrome, url: str) -> None:
    """Load a page. The driver may return while an empty document is in its place."""
    before = find(browser, "html")
    browser.get(url)
    arrived(browser, before)


def names(browser: webdriver.Chrome) -> list[str]:
    """Return the names that can be seen."""
    links = browser.find_elements(By.CSS_SELECTOR, ".files tbody a")
    return [link.text for link in links if link.is_displayed()]


def follow(browser: webdriver.Chrome, element: WebElement) -> None:
    """Click a link or a button, and wait for the page that it leads to."""
    before = find(browser, "html")
    element.click()
    arrived(browser, before)


def arrived(browser: webdriver.Chrome, before: WebElement) -> None:
    """Wait until another page than that of an element is loaded."""
    WebDriverWait(browser, 20, ignored_exceptions=[StaleElementReferenceException]).until(
        lambda driver: (
            find(driver, "html") != before
            and find(driver, "main")
            and driver.execute_script("return document.readyState") == "complete"
        ),
        "the next page was not loaded",
    )


def text_of(browser: webdriver.Chrome) -> list[object]:
    """Return all that is shown and where all links lead."""
    return browser.execute_script("""
        return [document.title, document.body.innerText,
                [...document.links].map(link => [link.innerText, link.href])];
    """)


@pytest.mark.parametrize("has_script", [True, False], ids=["script", "no script"])
def test_columns_are_sorted_by_a_click(browser: webdriver.Chrome, site: str, has_script) -> None:
    disabled = {"value": not has_script}
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", disabled)
    load(browser, site)
    folders = ["empty/", "hostile/", "many/", "sub/"]
    assert names(browser)[:4] == folders
    follow(browser, browser.find_element(By.PARTIAL_LINK_TEXT, "Size"))
    assert names(browser)[4:] == ["C.txt", "b.txt", "README.md", "favicon.ico", "dot.png", "a.txt"]
    assert find(browser, "th[aria-sort]").get_attribute("aria-sort") == "descending"
    follow(browser, browser.find_element(By.PARTIAL_LINK_TEXT, "Size"))
    assert names(browser)[4] == "a.txt"
    assert sorted(names(browser)[:4]) == folders
    assert find(browser, "th[aria-sort]").get_attribute("aria-sort") == "ascending"


def test_the_page_is_the_same_without_a_script(browser: webdriver.Chrome, site: str) -> None:
    for page in ("", "?sort=size&order=desc", "hostile/", "many/?limit=10&offset=10", "?q=nothing"):
        load(browser, site + page)
        with_script = text_of(browser)
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        load(browser, site + page)
        assert text_of(browser) == with_script
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_rows_are_filtered_while_a_name_is_typed(browser: webdriver.Chrome, site: str) -> None:
    load(browser, site)
    everything, count = names(browser), find(browser, "caption").text
    find(browser, "body").send_keys("/")
    box = browser.switch_to.active_element
    assert box.get_attribute("type") == "search"
    box.send_keys("C.T")  # the slash itself is not in the box
    assert names(browser) == ["C.txt"]
    assert find(browser, "caption").text == f"1 of {len(everything)} on this page"
    box.send_keys(Keys.BACKSPACE * 3)
    assert names(browser) == everything
    assert find(browser, "caption").text == count
    box.send_keys("*.txt")  # a pattern is for the server
    assert names(browser) == everything
    before = find(browser, "html")
    box.send_keys(Keys.ENTER)
    arrived(browser, before)
    assert names(browser) == ["a.txt", "b.txt", "C.txt"]
    assert find(browser, "[type=search]").get_attribute("value") == "*.txt"


def test_entries_are_selected_for_an_archive(browser: webdriver.Chrome, site: str) -> None:
    load(browser, site)
    boxes = browser.find_elements(By.CSS_SELECTOR, ".files tbody input")
    assert len(boxes) == len(names(browser))
    shown = [box.value_of_css_property("opacity") for box in boxes]
    assert set(shown) == {"0"}
    for number in (1, 4):
        boxes[number].click()
    assert {box.value_of_css_property("opacity") for box in boxes} == {"1"}
    asked = browser.execute_script("""
        const form = document.getElementById("~archive");
        return new URLSearchParams(new FormData(form, form.querySelector("button"))).toString();
    """)
    assert asked == "archive=zip&name=hostile&name=a.txt"


def test_pages_are_turned(browser: webdriver.Chrome, site: str) -> None:
    load(browser, f"{site}many/?limit=10")
    seen = names(browser)
    while links := browser.find_elements(By.CSS_SELECTOR, "a[rel=next]"):
        follow(browser, links[0])
        seen += names(browser)
    assert seen == [f"file-{number:02}.txt" for number in range(25)]
    assert find(browser, "caption").text == "21 to 25 of 25"
    follow(browser, browser.find_element(By.LINK_TEXT, "First"))
    assert names(browser)[0] == "file-00.txt"


def test_every_hostile_name_is_shown_and_leads_to_its_file(
    browser: webdriver.Chrome, site: str
) -> None:
    load(browser, f"{site}hostile/")
    links = browser.execute_script("""
        return [...document.querySelectorAll(".files tbody a")].map(link => link.href);
    """)
    contents = []
    for link in links:
        with urllib.request.urlopen(link) as response:
            contents.append(response.read())
    assert sorted(contents) == sorted(ATTACKS)
    assert browser.title == "Index of /hostile/"
    assert browser.get_log("browser") == []


def test_the_readme_is_shown_and_runs_nothing(browser: webdriver.Chrome, site: str) -> None:
    load(browser, site)
    assert find(browser, ".readme h2").text == "Things to know"
    pictures = browser.execute_script("return [...document.images].map(i => i.naturalWidth)")
    assert pictures == [1]
    assert "elsewhere" in find(browser, ".readme").text
    assert browser.get_log("browser") == []
    assert browser.title == "Index of /"
    assert (
        browser.execute_script(
            "return document.querySelectorAll('[onerror], .readme script').length"
        )
        == 0
    )
    follow(browser, browser.find_element(By.LINK_TEXT, "the folder"))
    assert browser.current_url == f"{site}sub/"


def test_the_policy_stops_what_would_slip_through(browser: webdriver.Chrome, site: str) -> None:
    load(browser, site)
    stopped = browser.execute_async_script("""
        const [done] = arguments, stopped = [];
        document.addEventListener("securitypolicyviolation", event => {
            stopped.push(event.effectiveDirective);
            if (stopped.length === 4) done(stopped.sort());
        });
        const add = (tag, properties) =>
            document.body.append(Object.assign(document.createElement(tag), properties));
        document.body.insertAdjacentHTML("beforeend", "<i onclick='document.title = 1'>i</i>");
        document.body.lastElementChild.click();
        add("script", {textContent: "document.title = 2"});
        add("style", {textContent: "body { display: none }"});
        add("img", {src: "http://127.0.0.1:9/x.png"});
    """)
    assert stopped == ["img-src", "script-src-attr", "script-src-elem", "style-src-elem"]
    assert browser.title == "Index of /"


def test_keys_alone_are_enough(browser: webdriver.Chrome, site: str) -> None:
    load(browser, site)
    find(browser, "body").send_keys(Keys.TAB)
    skip = browser.switch_to.active_element
    assert skip.text == "Skip to the files"
    assert skip.rect["x"] >= 0
    skip.send_keys(Keys.ENTER)
    find(browser, "body").send_keys(Keys.TAB)
    first = browser.switch_to.active_element
    assert "Name" in first.text
    assert first.value_of_css_property("outline-style") == "solid"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1_280])
def test_no_page_is_wider_than_its_window(
    browser: webdriver.Chrome, site: str, width: int, scheme: str
) -> None:
    emulate(browser, width, scheme)
    for page in ("", "hostile/", f"{LONG_PATH}/", "many/?limit=10&offset=10", "missing"):
        load(browser, site + page)
        widest = browser.execute_script("""
            return Math.max(document.documentElement.scrollWidth,
                ...[...document.querySelectorAll("main *, header *")].map(
                    element => element.getBoundingClientRect().right));
        """)
        assert widest <= width, page
        dark, light = "rgba(21, 24, 28, 1)", "rgba(255, 255, 255, 1)"
        background = find(browser, "body").value_of_css_property("background-color")
        assert background == (dark if scheme == "dark" else light)


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the script of axe-core, which checks a page against WCAG; skip where there is none."""
    npm = shutil.which("npm") or pytest.skip("needs npm")
    directory = tmp_path_factory.mktemp("axe")
    command = [npm, "pack", "--silent", "--ignore-scripts", AXE]
    packed = subprocess.run(command, cwd=directory, check=False, capture_output=True, text=True)
    if packed.returncode:
        pytest.skip(f"npm has no {AXE} here")
    with tarfile.open(directory / packed.stdout.split()[-1]) as package:
        script = package.extractfile("package/axe.min.js")
        assert script is not None
        return script.read().decode()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1_280])
def test_accessibility(
    browser: webdriver.Chrome, site: str, axe: str, width: int, scheme: str
) -> None:
    emulate(browser, width, scheme)
    for page in ("", "hostile/", "empty/", "many/?limit=10&offset=10", "?q=nothing", "missing"):
        load(browser, site + page)
        browser.execute_script(axe)
        problems = browser.execute_async_script("""
            const done = arguments[0];
            axe.run().then(result => done(result.violations.map(
                rule => [rule.id, rule.nodes.map(node => node.html)])));
        """)
        assert problems == [], page
