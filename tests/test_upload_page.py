"""The page of a folder that can be written to, in a real browser: by mouse, by keys, cut off."""

import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

import aserve
from tests.cutting_proxy import CuttingProxy
from tests.test_browser import chromium
from tests.test_folder_page import axe, browser, emulate, find, follow, load

__all__ = ["axe", "browser", "chromium"]  # fixtures

pytestmark = pytest.mark.browser


class UploadProxy(CuttingProxy):
    """While is_cutting, ends each upload after its first bytes.

    method: of the uploads. once: whether only the first one is cut off. after: how many bytes of a
    connection must have passed before one of its uploads is cut off.
    """

    def __init__(
        self, url: str, method: bytes = b"POST", *, once: bool = False, after: int = 0
    ) -> None:
        self._method = method
        self._once = once
        self._after = after
        self.is_cutting = False
        self.was_cut = threading.Event()
        super().__init__(url)

    def _cutter(self) -> Callable[[bytes], bool]:
        is_upload, passed = False, 0

        def cuts(data: bytes) -> bool:
            nonlocal is_upload, passed
            is_upload |= data.startswith(self._method)
            passed += len(data)
            if not (is_upload and self.is_cutting and passed > self._after):
                return False
            self.is_cutting = not self._once
            self.was_cut.set()
            return True

        return cuts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder with files, which is served, and files to upload beside it."""
    (tmp_path / "site/in/sub").mkdir(parents=True)
    (tmp_path / "site/favicon.ico").touch()
    for name in ("a.txt", "b.txt", "<i>.txt"):
        (tmp_path / "site/in" / name).write_text(name)
    (tmp_path / "tree/deep").mkdir(parents=True)
    (tmp_path / "tree/top.txt").write_text("top")
    (tmp_path / "tree/deep/ü.txt").write_text("deep")
    for number in range(10):
        (tmp_path / f"new {number}.bin").write_bytes(bytes([number]) * 50_000)
    (tmp_path / "a.txt").write_text("another")
    return tmp_path


@pytest.fixture
def served(folder: Path) -> Iterator[aserve.Server]:
    with aserve.Server(folder / "site", write=("/in", "add:/in/sub"), fsync=False) as server:
        yield server


def wait(
    browser: webdriver.Chrome, condition: Callable[[], object], what: str, timeout_s: float = 60
) -> None:
    WebDriverWait(browser, timeout_s).until(lambda _: condition(), what)


def choose(browser: webdriver.Chrome, *paths: Path) -> None:
    find(browser, "#\\~choose").send_keys("\n".join(map(str, paths)))


def summary(browser: webdriver.Chrome) -> str:
    return find(browser, ".uploads [role=status]").text


def states(browser: webdriver.Chrome) -> list[str]:
    return [row.text for row in browser.find_elements(By.CSS_SELECTOR, ".uploads li p")]


def names(browser: webdriver.Chrome) -> list[str]:
    """Return the names that can be seen: at once, since the page may put a new table there."""
    return browser.execute_script("""
        return [...document.querySelectorAll(".files tbody a")]
            .filter(link => link.checkVisibility()).map(link => link.innerText);
    """)


def button(browser: webdriver.Chrome, text: str, within: str = "body") -> WebElement:
    """Return the button with a text that can be seen."""
    found = browser.find_elements(By.CSS_SELECTOR, f"{within} button")
    (one,) = [each for each in found if each.text == text and each.is_displayed()]
    return one


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_ten_files_are_uploaded_three_at_a_time(
    browser: webdriver.Chrome, served: aserve.Server, folder: Path
) -> None:
    load(browser, f"{served.url}in/")
    browser.execute_script("""
        const { send } = XMLHttpRequest.prototype;
        window.running = window.most = 0;
        XMLHttpRequest.prototype.send = function (body) {
          most = Math.max(most, ++running);
          this.addEventListener("readystatechange", () => { running -= this.readyState === 4; });
          send.call(this, body);
        };
    """)
    choose(browser, *(folder / f"new {number}.bin" for number in range(10)))
    wait(browser, lambda: summary(browser) == "10 of 10 files uploaded", "not all were uploaded")
    assert browser.execute_script("return most") == 3
    stored = content(folder / "site/in")
    assert {stored[f"new {number}.bin"] for number in range(10)} == {
        bytes([number]) * 50_000 for number in range(10)
    }
    wait(browser, lambda: "new 9.bin" in names(browser), "the table was not renewed")
    assert find(browser, "caption").text == "14 items"
    # The filter knows the new rows.
    find(browser, "[type=search]").send_keys("new")
    assert names(browser) == [f"new {number}.bin" for number in range(10)]
    button(browser, "Clear list").click()
    assert not find(browser, ".uploads").is_displayed()
    assert browser.get_log("browser") == []


def test_files_are_uploaded_without_a_script(
    browser: webdriver.Chrome, served: aserve.Server, folder: Path
) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    load(browser, f"{served.url}in/")
    paths = [folder / "new 1.bin", folder / "new 2.bin"]
    find(browser, "[type=file]").send_keys("\n".join(map(str, paths)))
    follow(browser, button(browser, "Upload"))
    assert browser.current_url == f"{served.url}in/"
    assert names(browser)[-2:] == ["new 1.bin", "new 2.bin"], find(browser, "body").text
    find(browser, "[type=file]").send_keys(str(folder / "a.txt"))
    follow(browser, button(browser, "Upload"))
    assert "a.txt was not stored: This name is already taken." in find(browser, "main").text
    follow(browser, browser.find_element(By.LINK_TEXT, "Back to the folder"))
    assert browser.current_url == f"{served.url}in/"
    assert content(folder / "site/in")["a.txt"] == b"a.txt"


def test_a_folder_is_uploaded_with_all_below_it(
    browser: webdriver.Chrome, served: aserve.Server, folder: Path
) -> None:
    load(browser, f"{served.url}in/")
    find(browser, "[type=file][webkitdirectory]").send_keys(str(folder / "tree"))
    wait(browser, lambda: summary(browser) == "2 of 2 files uploaded", "not all were uploaded")
    assert content(folder / "site/in/tree") == {"top.txt": b"top"}
    assert content(folder / "site/in/tree/deep") == {"ü.txt": b"deep"}


def test_files_and_folders_are_dropped_on_the_page(
    browser: webdriver.Chrome, served: aserve.Server, folder: Path
) -> None:
    load(browser, f"{served.url}in/")
    data = {
        "items": [],
        "files": [str(folder / "tree"), str(folder / "new 3.bin")],
        "dragOperationsMask": 1,
    }
    for kind in ("dragEnter", "dragOver", "drop"):
        browser.execute_cdp_cmd(
            "Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": data}
        )
    wait(browser, lambda: summary(browser) == "3 of 3 files uploaded", "not all were uploaded")
    assert content(folder / "site/in/tree/deep") == {"ü.txt": b"deep"}
    assert len(content(folder / "site/in")["new 3.bin"]) == 50_000
    assert "dropping" not in (find(browser, "html").get_attribute("class") or "")


def test_a_cut_upload_is_told_and_tried_again(
    browser: webdriver.Chrome, served: aserve.Server, folder: Path
) -> None:
    (folder / "large.bin").write_bytes(bytes(5_000_000))
    proxy = UploadProxy(served.url)
    try:
        load(browser, f"{proxy.url}in/")
        proxy.is_cutting = True
        choose(browser, folder / "large.bin")
        wait(browser, lambda: states(browser) == ["The connection was lost."], "no error is shown")
        assert proxy.was_cut.is_set()
        assert summary(browser) == "0 of 1 file uploaded, 1 not"
        assert "large.bin" not in content(folder / "site/in")
        proxy.is_cutting = False
        button(browser, "Retry").click()
        wait(browser, lambda: states(browser) == ["Uploaded"], "it was not uploaded")
        assert content(folder / "site/in")["large.bin"] == bytes(5_000_000)
    finally:
        proxy.close()


def test_an_upload_is_cancelled_and_tried_again(
    browser: webdriver.Chrome, served: aserve.Server, folder: Path
) -> None:
    (folder / "large.bin").write_bytes(bytes(5_000_000))
    load(browser, f"{served.url}in/")
    paths = [folder / f"new {number}.bin" for number in range(4)]
    throttle(browser, 1)  # all of this takes hours
    try:
        choose(browser, folder / "large.bin", *paths)
        for name in ("large.bin", "new 3.bin"):  # one that is sent, and one that waits
            find(browser, f'[aria-label="Cancel {name}"]').click()
            again = find(browser, f'[aria-label="Retry {name}"]')
            assert again == browser.switch_to.active_element
        assert states(browser).count("Cancelled") == 2
        assert "large.bin" not in content(folder / "site/in")
    finally:
        throttle(browser, -1)
    wait(browser, lambda: states(browser).count("Uploaded") == 3, "the others were not uploaded")
    for name in ("new 3.bin", "large.bin"):
        find(browser, f'[aria-label="Retry {name}"]').click()
    wait(browser, lambda: summary(browser) == "5 of 5 files uploaded", "not all were uploaded")
    assert content(folder / "site/in")["large.bin"] == bytes(5_000_000)


LARGE = bytes(range(256)) * 40_000
"""So large that it is sent in parts."""


def requests_of(lines: list[str], method: str) -> int:
    return sum(f'"{method} ' in line for line in lines)


def test_a_large_upload_goes_on_after_a_cut(browser: webdriver.Chrome, folder: Path) -> None:
    (folder / "large.bin").write_bytes(LARGE)
    lines: list[str] = []
    settings = {"write": ("/in",), "fsync": False, "access_log": lines.append}
    with aserve.Server(folder / "site", **settings) as served:
        proxy = UploadProxy(served.url, b"PATCH", once=True)
        proxy.is_cutting = True
        try:
            load(browser, f"{proxy.url}in/")
            choose(browser, folder / "large.bin")
            wait(browser, lambda: states(browser) == ["Uploaded"], "it was not uploaded")
        finally:
            proxy.close()
    assert proxy.was_cut.is_set()
    assert content(folder / "site/in")["large.bin"] == LARGE
    assert requests_of(lines, "POST") == 1


HUGE = (2 << 30) + 12_345
"""Bytes: more than a signed number of 32 bits can say."""
MARK_STEP = 64 << 20


@pytest.fixture
def huge_file(folder: Path) -> Iterator[Path]:
    """Return a sparse file of HUGE bytes, of which each 64 MiB begin with their offset.

    What is stored of it takes real space, which is given back even if the test fails.
    """
    free = shutil.disk_usage(folder).free
    if free < 3 * HUGE:
        pytest.skip(f"needs {3 * HUGE >> 20:,} MiB for temporary files: {free >> 20:,} are free")
    path = folder / "huge.bin"
    with path.open("wb") as file:
        for offset in range(0, HUGE, MARK_STEP):
            file.seek(offset)
            file.write(b"%d" % offset)
        file.truncate(HUGE)
    yield path
    (folder / "site/in/huge.bin").unlink(missing_ok=True)
    for left in unfinished(folder):
        left.unlink()


def same_content(one: Path, other: Path) -> bool:
    """Compare large files, of which one may be sparse."""
    with one.open("rb", 0) as left, other.open("rb", 0) as right:
        while data := left.read(1 << 22):
            if data != right.read(len(data)):
                return False
        return not right.read(1)


@pytest.mark.slow
@pytest.mark.timeout(600)  # two gigabytes, on a disk that others use
def test_ten_files_one_of_two_gigabytes_are_uploaded_over_a_line_that_is_cut(
    browser: webdriver.Chrome, folder: Path, huge_file: Path
) -> None:
    lines: list[str] = []
    settings = {"write": ("/in",), "fsync": False, "access_log": lines.append}
    with aserve.Server(folder / "site", **settings) as served:
        proxy = UploadProxy(served.url, b"PATCH", once=True, after=HUGE // 2)
        proxy.is_cutting = True
        try:
            load(browser, f"{proxy.url}in/")
            choose(browser, huge_file, *(folder / f"new {number}.bin" for number in range(9)))
            is_done = lambda: summary(browser) == "10 of 10 files uploaded"  # noqa: E731
            wait(browser, is_done, "not all were uploaded", 550)
        finally:
            proxy.close()
    assert proxy.was_cut.is_set()
    assert same_content(folder / "site/in/huge.bin", huge_file)
    for number in range(9):
        path = folder / f"site/in/new {number}.bin"
        assert path.read_bytes() == bytes([number]) * 50_000
    assert not unfinished(folder)
    # It was begun once, and what had arrived before the cut was not sent again.
    huge = [line for line in lines if '"PATCH ' in line]
    assert requests_of(lines, "POST") == 10
    assert max(map(received, huge)) < HUGE
    assert sum(map(received, huge)) < HUGE + HUGE // 2


def received(line: str) -> int:
    """Return the bytes of a request's body, as a line of the access log has them."""
    found = re.search(r'"received (\d+)"$', line)
    return int(found[1]) if found else 0


def test_a_large_upload_is_paused_and_goes_on_in_another_tab(
    browser: webdriver.Chrome, folder: Path
) -> None:
    (folder / "large.bin").write_bytes(LARGE)
    lines: list[str] = []
    settings = {"write": ("/in",), "fsync": False, "access_log": lines.append}
    with aserve.Server(folder / "site", **settings) as served:
        load(browser, f"{served.url}in/")
        throttle(browser, 1_000_000)
        try:
            choose(browser, folder / "large.bin")
            wait(browser, lambda: arrived(folder), "nothing has arrived")
            find(browser, '[aria-label="Pause large.bin"]').click()
            assert states(browser) == ["Paused"]
            resume = find(browser, '[aria-label="Resume large.bin"]')
            assert resume == browser.switch_to.active_element
        finally:
            throttle(browser, -1)
        load(browser, f"{served.url}in/")
        choose(browser, folder / "large.bin")
        wait(browser, lambda: states(browser) == ["Uploaded"], "it was not uploaded")
        assert browser.execute_script("return localStorage.length") == 0
    assert content(folder / "site/in")["large.bin"] == LARGE
    assert (requests_of(lines, "POST"), requests_of(lines, "HEAD")) == (1, 1)


def is_sending(browser: webdriver.Chrome) -> bool:
    return bool(browser.find_elements(By.CSS_SELECTOR, ".uploads li.running"))


@contextmanager
def second_tab(browser: webdriver.Chrome) -> Iterator[tuple[str, str]]:
    """Open another tab; yield the handles of both, of which the new one is looked at."""
    first = browser.current_window_handle
    browser.switch_to.new_window("tab")
    second = browser.current_window_handle
    try:
        yield first, second
    finally:
        browser.switch_to.window(second)
        browser.close()
        browser.switch_to.window(first)


def test_two_tabs_that_send_one_file_never_mix_it(browser: webdriver.Chrome, folder: Path) -> None:
    """Both go on with the same upload: each takes it from the other, and there is one file."""
    (folder / "large.bin").write_bytes(LARGE)
    lines: list[str] = []
    settings = {"write": ("/in",), "fsync": False, "access_log": lines.append}
    with (
        aserve.Server(folder / "site", **settings) as served,
        second_tab(browser) as tabs,
    ):
        for tab in tabs:
            browser.switch_to.window(tab)
            load(browser, f"{served.url}in/")
            throttle(browser, 50_000)  # minutes, until both are in the middle of it
            choose(browser, folder / "large.bin")
            wait(browser, lambda: arrived(folder), "nothing has arrived")
            wait(browser, lambda: states(browser) != ["Starting"], "it does not send")
        for tab in tabs:
            browser.switch_to.window(tab)
            throttle(browser, -1)
        ends = []
        for tab in tabs:
            browser.switch_to.window(tab)
            wait(browser, lambda: not is_sending(browser), "it does not end")
            ends += states(browser)
    assert "Uploaded" in ends, ends
    assert content(folder / "site/in")["large.bin"] == LARGE
    assert not unfinished(folder)
    assert requests_of(lines, "POST") == 1


def test_a_large_upload_that_is_cancelled_leaves_nothing(
    browser: webdriver.Chrome, served: aserve.Server, folder: Path
) -> None:
    (folder / "large.bin").write_bytes(LARGE)
    load(browser, f"{served.url}in/")
    throttle(browser, 1_000_000)
    try:
        choose(browser, folder / "large.bin")
        wait(browser, lambda: arrived(folder), "nothing has arrived")
        find(browser, '[aria-label="Cancel large.bin"]').click()
    finally:
        throttle(browser, -1)
    wait(browser, lambda: not unfinished(folder), "some of it is still there")


def unfinished(folder: Path) -> list[Path]:
    """Return the files of uploads under way, which may go at any time."""
    return list((folder / "site/in").glob(".aserve-upload-partial-*"))


def arrived(folder: Path) -> bool:
    """Tell whether bytes of an upload are there."""
    data = [path for path in unfinished(folder) if path.suffix != ".json"]
    return any(path.stat().st_size for path in data)


def throttle(browser: webdriver.Chrome, speed: int) -> None:
    """Let the page send so many bytes a second, -1 for any number."""
    conditions = {"offline": False, "latency": 0, "downloadThroughput": -1}
    conditions["uploadThroughput"] = speed
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)


def test_a_taken_name_is_a_question(
    browser: webdriver.Chrome, served: aserve.Server, folder: Path
) -> None:
    load(browser, f"{served.url}in/")
    for answer, state, stored in (
        ("Keep both", "Uploaded as a (1).txt", {"a.txt": b"a.txt", "a (1).txt": b"another"}),
        ("Replace", "Uploaded", {"a.txt": b"another", "a (1).txt": b"another"}),
    ):
        choose(browser, folder / "a.txt")
        wait(
            browser,
            lambda: states(browser)[:1] == ["This name is already taken."],
            "no conflict is shown",
        )
        asked = button(browser, answer)
        assert asked.get_attribute("aria-label") == f"{answer} a.txt"
        asked.send_keys(Keys.ENTER)
        wait(browser, lambda state=state: state in states(browser), "it was not uploaded")
        # The button is gone, and the focus goes on to what can be done next.
        assert browser.switch_to.active_element.tag_name == "button"
        assert stored.items() <= content(folder / "site/in").items()
        button(browser, "Clear list").click()


def test_nothing_can_be_changed_where_files_are_only_added(
    browser: webdriver.Chrome, served: aserve.Server, folder: Path
) -> None:
    (folder / "site/in/sub/a.txt").write_text("old")
    load(browser, f"{served.url}in/sub/")
    choose(browser, folder / "a.txt")
    wait(browser, lambda: states(browser) == ["This name is already taken."], "no conflict")
    found = browser.find_elements(By.CSS_SELECTOR, ".uploads li button")
    assert [one.text for one in found] == ["Keep both"]
    assert not browser.find_elements(By.XPATH, "//button[contains(., 'selected')]")


def select(browser: webdriver.Chrome, *selected: str) -> None:
    for name in selected:
        box = browser.find_element(By.CSS_SELECTOR, f'.files input[value="{name}"]')
        box.send_keys(Keys.SPACE)


def test_files_and_folders_are_deleted_after_a_question(
    browser: webdriver.Chrome, served: aserve.Server, folder: Path
) -> None:
    (folder / "site/in/full/deep").mkdir(parents=True)
    load(browser, f"{served.url}in/")
    select(browser, "a.txt", "full", "<i>.txt")
    button(browser, "Delete selected").click()
    dialog = find(browser, "dialog")
    assert dialog.text.splitlines()[0] == "Delete 3 items?"
    assert {"<i>.txt", "full", "a.txt"} < set(dialog.text.splitlines())
    assert browser.switch_to.active_element.text == "Cancel"
    dialog.send_keys(Keys.ESCAPE)
    wait(browser, lambda: not browser.find_elements(By.CSS_SELECTOR, "dialog"), "it is still open")
    assert set(content(folder / "site/in")) == {"a.txt", "b.txt", "<i>.txt"}
    button(browser, "Delete selected").click()
    button(browser, "Delete", "dialog").click()
    wait(browser, lambda: names(browser) == ["sub/", "b.txt"], "the table was not renewed")
    told = find(browser, ".upload [role=status]")
    wait(browser, lambda: told.text == "3 items deleted", "nothing is told")
    assert set(content(folder / "site/in")) == {"b.txt"}


def test_what_cannot_be_deleted_is_told(
    browser: webdriver.Chrome, served: aserve.Server, folder: Path
) -> None:
    load(browser, f"{served.url}in/")
    select(browser, "sub", "a.txt")  # nothing may be deleted from one of them
    button(browser, "Delete selected").click()
    button(browser, "Delete", "dialog").click()
    wait(browser, lambda: "Not everything" in find(browser, "dialog").text, "nothing is told")
    assert "sub: " in find(browser, "dialog").text
    button(browser, "OK", "dialog").click()
    wait(browser, lambda: "a.txt" not in names(browser), "the table was not renewed")
    assert (folder / "site/in/sub").is_dir()


def test_a_file_is_renamed_with_keys(
    browser: webdriver.Chrome, served: aserve.Server, folder: Path
) -> None:
    load(browser, f"{served.url}in/")
    select(browser, "<i>.txt")
    button(browser, "Rename selected").send_keys(Keys.ENTER)
    field = browser.switch_to.active_element
    assert field.get_attribute("value") == "<i>.txt"
    field.send_keys("né w", Keys.ENTER)  # what is before the suffix was selected
    wait(browser, lambda: "né w.txt" in names(browser), "the table was not renewed")
    assert content(folder / "site/in")["né w.txt"] == b"<i>.txt"
    select(browser, "né w.txt")
    button(browser, "Rename selected").click()
    browser.switch_to.active_element.send_keys(Keys.CONTROL, "a")
    browser.switch_to.active_element.send_keys("b.txt", Keys.ENTER)
    wait(browser, lambda: "already taken" in find(browser, "dialog").text, "nothing is told")
    assert content(folder / "site/in")["b.txt"] == b"b.txt"


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_wrong_while_files_are_uploaded(  # noqa: PLR0917 - fixtures
    browser: webdriver.Chrome,
    served: aserve.Server,
    folder: Path,
    axe: str,
    width: int,
    scheme: str,
) -> None:
    emulate(browser, width, scheme)
    load(browser, f"{served.url}in/")
    find_problems(browser, axe)
    choose(browser, folder / "new 1.bin", folder / "a.txt")
    wait(browser, lambda: summary(browser) == "1 of 2 files uploaded, 1 not", "not at its end")
    find_problems(browser, axe)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    select(browser, "b.txt")
    button(browser, "Delete selected").click()
    find_problems(browser, axe)


def find_problems(browser: webdriver.Chrome, axe: str) -> None:
    browser.execute_script(axe)
    problems = browser.execute_async_script("""
        const done = arguments[0];
        axe.run().then(result => done(result.violations.map(
            rule => [rule.id, rule.nodes.map(node => node.html)])));
    """)
    assert problems == []


def test_a_page_with_live_reload_stays_while_it_uploads(
    browser: webdriver.Chrome, folder: Path
) -> None:
    with aserve.Server(folder / "site", write=("/in",), fsync=False, live=True) as server:
        load(browser, f"{server.url}in/")
        browser.execute_script("window.wasReloaded = false")
        choose(browser, *(folder / f"new {number}.bin" for number in range(10)))
        wait(browser, lambda: summary(browser) == "10 of 10 files uploaded", "it was reloaded")
        (folder / "site/in/from elsewhere.txt").touch()
        wait(browser, lambda: "from elsewhere.txt" in names(browser), "the change is not shown")
        assert browser.execute_script("return window.wasReloaded") is False
        button(browser, "Clear list").click()
        (folder / "site/in/another.txt").touch()
        wait(browser, lambda: "another.txt" in names(browser), "the change is not shown")
