"""The page with plots in a real browser: light and dark, wide and narrow."""

import json
from collections import Counter
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.color import Color

from abench.plan.plan import Plan
from abench.report import html
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


@pytest.mark.parametrize("width", [1280, 700, 481, 480, 360, 320])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_readable(chromium: webdriver.Chrome, page: Path, scheme: str, width: int) -> None:
    set_display(chromium, scheme, width)
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
    for reference in ("src=", "@import", "<link", "<script"):
        assert reference not in text
    targets = {word.split(")")[0] for word in text.split("url(")[1:]}
    assert all(target.startswith("#") for target in targets), json.dumps(sorted(targets))
