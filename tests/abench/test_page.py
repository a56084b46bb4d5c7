"""The page with plots in a real browser: light, dark, wide, narrow, with scripts and without."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.color import Color
from selenium.webdriver.support.wait import WebDriverWait

from abench.plan.plan import Plan
from abench.report import html
from abench.stats import units
from abench.stats.histogram import Histogram
from abench.stats.intervals import Interval
from abench.stats.results import build_results
from abench.stats.samples import REDIRECT, Sample
from abench.stats.summary import Summary
from abench.stats.time_series import TimeSeries
from tests.test_browser import chromium

__all__ = ["chromium"]  # a fixture

pytestmark = pytest.mark.browser

URL = "http://127.0.0.1:8000/" + 30 * "a-long-name/" + "?<script>document.title='owned'</script>"
PLOTS = 4
MIN_TEXT_HEIGHT = 10.5  # pixels
TEXT_HEIGHT = """
    const matrix = arguments[0].getScreenCTM();
    return parseFloat(getComputedStyle(arguments[0]).fontSize) * matrix.a
"""
SPANS = """
    return abenchCharts.map(({chart}) => [chart.scales.x.min, chart.scales.x.max])
"""
COLOURS = """
    const of = (which, name) => Array.from(document.querySelectorAll(which),
        element => getComputedStyle(element)[name]);
    return [...new Set([...of("h1, h2, p, th, td, b, li", "color"), ...of("svg text", "fill")])]
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    values = [100 * number for number in range(1, 1001)]
    interval = Interval(1000, 5, 100_000, Histogram.of(values), Histogram.of(values))
    summary = Summary(
        service=Histogram.of(values * 5),
        response=Histogram.of(values * 5),
        status=Counter({200: 4990, 302: 10, 503: 25}),
        failures=Counter({"status": 25, "connect": 1}),
        samples=[
            Sample(5_000, "status", "503", "HTTP/1.1 503 <script>document.title='owned'</script>"),
            Sample(6_000, "connect", "SSLV3_ALERT_HANDSHAKE_FAILURE_" + 50 * "X", 150 * "y"),
            Sample(7_000, REDIRECT, "302", "https://127.0.0.1/" + 150 * "z"),
        ],
        elapsed_ns=5_000_000_000,
        series=TimeSeries(1, dict.fromkeys(range(5), interval)),
        started=5025,
    )
    path = tmp_path_factory.mktemp("page") / "report.html"
    with path.open("w") as stream:
        html.write_html(build_results(Plan(url=URL, rate=1005.0), summary), stream)
    return path


def set_display(driver: webdriver.Chrome, scheme: str, width: int) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def luminance(colour: str) -> float:
    """Return the relative luminance that WCAG 2 defines."""
    parts = [int(Color.from_string(colour).hex[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@contextmanager
def without_scripts(driver: webdriver.Chrome) -> Iterator[None]:
    """Let no script of a page run; those of the test still do."""
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        yield
    finally:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize("width", [1280, 700, 481, 480, 360, 320])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_readable(chromium: webdriver.Chrome, page: Path, scheme: str, width: int) -> None:
    set_display(chromium, scheme, width)
    with without_scripts(chromium):
        check_readable(chromium, page, scheme, width)


def check_readable(chromium: webdriver.Chrome, page: Path, scheme: str, width: int) -> None:
    chromium.get_log("browser")  # reading clears it
    chromium.get(page.as_uri())
    assert chromium.get_log("browser") == []
    assert chromium.title.startswith("abench: http://127.0.0.1:8000/")
    script = "return performance.getEntriesByType('resource').map(entry => entry.name)"
    assert chromium.execute_script(script) == []
    wide = "const all = document.documentElement; return all.scrollWidth - all.clientWidth"
    assert chromium.execute_script(wide) == 0  # no horizontal scrolling
    every = chromium.find_elements(By.CSS_SELECTOR, "figure svg[role=img]")
    plots = [plot for plot in every if plot.is_displayed()]
    assert len(plots) == PLOTS
    for plot in plots:
        assert plot.accessible_name
        assert 250 < plot.rect["width"] <= width
        assert plot.rect["height"] > 100
        assert plot.find_elements(By.TAG_NAME, "path")
        box = plot.rect
        for text in plot.find_elements(By.TAG_NAME, "text"):
            assert MIN_TEXT_HEIGHT <= chromium.execute_script(TEXT_HEIGHT, text) <= 20
            assert text.rect["x"] >= box["x"] - 1, text.text  # no text is cut off
            assert text.rect["x"] + text.rect["width"] <= box["x"] + box["width"] + 1, text.text
    paper = chromium.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
    assert (luminance(paper) > 0.5) == (scheme == "light")
    colours = chromium.execute_script(COLOURS)
    assert colours
    for colour in colours:
        assert contrast(colour, paper) >= 4.5  # WCAG 2, criterion 1.4.3


def test_values_are_labelled(chromium: webdriver.Chrome, page: Path) -> None:
    set_display(chromium, "light", 1280)
    with without_scripts(chromium):
        chromium.get(page.as_uri())
    cards = [card.text for card in chromium.find_elements(By.CSS_SELECTOR, ".figure .quiet")]
    assert "response p99" in cards
    assert "requested/sec" in cards
    headings = [one.text for one in chromium.find_elements(By.CSS_SELECTOR, "figure h2")]
    assert headings[:3] == [
        "Pages per second, served and requested",
        "Response time over time",
        "Response time, every percentile",
    ]
    rates = chromium.find_element(By.CSS_SELECTOR, "figure .broad svg")
    assert "requested" in [text.text for text in rates.find_elements(By.TAG_NAME, "text")]


def test_page_is_self_contained(page: Path) -> None:
    text = page.read_text()
    assert len(text) < 500_000
    for reference in ("src=", "@import", "<link"):
        assert reference not in text
    targets = {word.split(")")[0] for word in text.split("url(")[1:]}
    assert all(target.startswith("#") for target in targets), json.dumps(sorted(targets))


def load(driver: webdriver.Chrome, page: Path, scheme: str = "light", width: int = 1280) -> None:
    """Load the page with its scripts; none may fail, or be refused by the page's policy."""
    set_display(driver, scheme, width)
    driver.get_log("browser")
    driver.get(page.as_uri())
    assert driver.get_log("browser") == []
    assert driver.title.startswith("abench: ")  # not "owned"


def charts(driver: webdriver.Chrome) -> list[WebElement]:
    return driver.find_elements(By.CSS_SELECTOR, ".chart")


def surface(chart: WebElement) -> WebElement:
    """Return the part of a chart that a pointer can be over."""
    return chart.find_element(By.CLASS_NAME, "u-over")


def values(chart: WebElement) -> dict[str, str]:
    """Return the values that a chart shows, by the names of its curves."""
    rows = chart.find_elements(By.CSS_SELECTOR, ".u-series")
    cells = [row.find_elements(By.CSS_SELECTOR, ".u-label, .u-value") for row in rows]
    return {name.text: value.text for name, value in cells}


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_values_are_shown_under_the_pointer(
    chromium: webdriver.Chrome, page: Path, scheme: str, width: int
) -> None:
    load(chromium, page, scheme, width)
    rates, latencies, spectrum = charts(chromium)
    wide = "const all = document.documentElement; return all.scrollWidth - all.clientWidth"
    assert chromium.execute_script(wide) == 0
    assert values(rates) == {"at": "-", "requested": "-", "pages": "-", "failures": "-"}
    ActionChains(chromium).move_to_element(surface(rates)).perform()
    # Of a second with 1,000 successes and 5 failures, in the middle of five. Others show it too.
    assert values(rates) == {
        "at": "2.5 s", "requested": "1,005", "pages": "1,000", "failures": "5.00",
    }  # fmt: skip
    assert values(latencies) == {
        "at": "2.5 s", "p50": "50.0 ms", "p99": "99.0 ms", "p99.9": "99.9 ms",
    }  # fmt: skip
    assert values(spectrum)["service"] == "-"
    ActionChains(chromium).move_to_element(surface(spectrum)).perform()
    shown = values(spectrum)
    assert shown["service"] == shown["response"] != "-"
    assert 90 < float(shown["percentile"].removesuffix(" %")) < 100
    paper = chromium.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
    ink = rates.find_element(By.CLASS_NAME, "u-legend").value_of_css_property("color")
    assert contrast(ink, paper) >= 4.5  # WCAG 2, criterion 1.4.3


def test_a_drag_zooms_all_plots_over_time_and_a_double_click_ends_it(
    chromium: webdriver.Chrome, page: Path
) -> None:
    load(chromium, page)
    rates, latencies, spectrum = charts(chromium)
    before = chromium.execute_script(SPANS)
    over, width = surface(rates), surface(rates).rect["width"]
    drag = ActionChains(chromium).move_to_element(over).click_and_hold()
    drag.move_by_offset(int(width / 4), 0).release().perform()
    zoomed = chromium.execute_script(SPANS)
    assert zoomed[0] == zoomed[1]
    assert zoomed[0] == pytest.approx([2.5, 3.5], abs=0.1)  # of 0.5 to 4.5
    assert zoomed[2] == before[2]
    buttons = [one.find_element(By.TAG_NAME, "button") for one in (rates, latencies, spectrum)]
    assert [one.is_displayed() for one in buttons] == [True, True, False]
    buttons[1].click()
    assert chromium.execute_script(SPANS) == before
    assert not any(one.is_displayed() for one in buttons)
    drag = ActionChains(chromium).move_to_element(over).click_and_hold()
    drag.move_by_offset(int(width / 4), 0).release().perform()
    ActionChains(chromium).double_click(over).perform()
    assert chromium.execute_script(SPANS) == before


def test_keys_move_through_the_values(chromium: webdriver.Chrome, page: Path) -> None:
    load(chromium, page)
    rates, latencies, _ = charts(chromium)
    assert rates.accessible_name.startswith("Pages per second, served and requested")
    seen = []
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.END, Keys.ARROW_RIGHT, Keys.ARROW_LEFT):
        rates.send_keys(key)
        seen.append(values(rates)["at"])
    assert seen == ["0.5 s", "1.5 s", "4.5 s", "4.5 s", "3.5 s"]
    assert values(latencies)["at"] == "3.5 s"


def test_colors_follow_a_change_of_the_scheme(chromium: webdriver.Chrome, page: Path) -> None:
    load(chromium, page)

    def has_color(driver: webdriver.Chrome, color: str) -> bool:
        pages = driver.find_element(By.CSS_SELECTOR, ".chart .u-legend tr:nth-child(3) .u-marker")
        return Color.from_string(pages.value_of_css_property("border-top-color")).hex == color

    assert has_color(chromium, "#0b62c4")
    set_display(chromium, "dark", 1280)
    waiting = WebDriverWait(chromium, 60, ignored_exceptions=[WebDriverException])
    waiting.until(lambda driver: has_color(driver, "#6cb1ff"))  # the page is told after the change


def test_paper_shows_the_drawn_plots_in_light_colors(
    chromium: webdriver.Chrome, page: Path
) -> None:
    load(chromium, page, "dark")
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": features})
    try:
        paper = chromium.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
        assert luminance(paper) == 1.0
        assert not any(chart.is_displayed() for chart in charts(chromium))
        drawn = chromium.find_elements(By.CSS_SELECTOR, "figure svg[role=img]")
        assert sum(one.is_displayed() for one in drawn) == PLOTS
    finally:
        chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@pytest.mark.parametrize("name", ["microseconds", "rate"])
def test_values_are_written_as_everywhere_else(
    chromium: webdriver.Chrome, page: Path, name: str
) -> None:
    load(chromium, page)
    write = {"microseconds": units.microseconds, "rate": units.decimal}[name]
    numbers = [
        0,
        1,
        9.99,
        9.996,
        99.94,
        99.996,
        812,
        999.4,
        999.6,
        1234,
        12_345,
        999_499,
        999_600,
        6e7,
    ]
    script = f"return arguments[0].map(abenchTexts.{name})"
    assert chromium.execute_script(script, numbers) == [write(number) for number in numbers]
    assert chromium.execute_script(script, [None]) == ["-"]


def test_a_run_without_responses_has_no_plot_that_needs_values(
    chromium: webdriver.Chrome, tmp_path: Path
) -> None:
    path = tmp_path / "silent.html"
    summary = Summary(
        elapsed_ns=2_000_000_000, series=TimeSeries(1, dict.fromkeys(range(2), Interval()))
    )
    with path.open("w") as stream:
        html.write_html(build_results(Plan(url=URL), summary), stream)
    load(chromium, path)
    assert len(charts(chromium)) == 1  # pages per second: none
