"""Sites of three generators in Chromium: what is transferred for their pages, and in which time.

`make sites` builds them. Each page is loaded with an empty cache: right after the server has
started, and again a second after the last page.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.idle import KIB
from benchmarks.loads import HOST
from benchmarks.processes import NoMeasurement
from benchmarks.products import PRODUCTS, where
from benchmarks.servers import Server, running

NAMES = ("mkdocs", "vitepress", "docusaurus")
TOOLS = ("chromium", "chromedriver", "selenium")
_SITES = Path(sys.prefix) / "sites"
_TIMEOUT_S = 60.0
_LATER_S = 1.0
_QUIET_S = 0.25
"""Without a new event for so long, a page that is loaded transfers nothing more."""

_LOADED = """
const entry = performance.getEntriesByType('navigation')[0];
return entry && entry.loadEventEnd > 0 ? entry.loadEventEnd : null;
"""
_FINISHED, _RECEIVED = "Network.loadingFinished", "Network.responseReceived"


def missing(name: str) -> str | None:
    """Return what is missing to measure a site, or None."""
    for tool in TOOLS:
        if PRODUCTS[tool].version() is None:
            return f"{tool} is missing; this installs it: {PRODUCTS[tool].install}"
    return None if (_SITES / name / "site").is_dir() else f"{name} is not built: make sites"


def measure(name: str, server: Server, _root: Path, _seconds: int) -> dict[str, float]:
    """Return KiB transferred and ms to load for all pages of a site, first and a second later."""
    root = _SITES / name / "site"
    targets = pages(root)
    with running(server, root) as one, _browser() as driver:
        base = f"http://{HOST}:{one.port}"
        # The first page of a browser takes longer than any other.
        _load(driver, f"{base}/no-such-page")
        cold = [_load(driver, base + target) for target in targets]
        time.sleep(_LATER_S)
        later = [_load(driver, base + target) for target in targets]
    return {
        "cold_kib": sum(size for size, _ in cold) / KIB,
        "later_kib": sum(size for size, _ in later) / KIB,
        "cold_ms": sum(taken for _, taken in cold),
        "later_ms": sum(taken for _, taken in later),
    }


def measure_of(name: str) -> Any:
    """Return what measures a site of this name."""
    return partial(measure, name)


def pages(root: Path) -> list[str]:
    """Return the targets of all pages of a site but its error page, in a fixed order."""
    names = sorted(file.relative_to(root).as_posix() for file in root.rglob("*.html"))
    return [f"/{name.removesuffix('index.html')}" for name in names if name != "404.html"]


@contextmanager
def _browser() -> Iterator[Any]:
    """Run Chromium without its cache until the block ends."""
    from selenium import webdriver  # noqa: PLC0415 - it may be missing
    from selenium.webdriver.chrome.service import Service  # noqa: PLC0415

    options = webdriver.ChromeOptions()
    # Both paths are given: selenium would download a program that it has to look for.
    options.binary_location = where("chromium")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    with tempfile.TemporaryDirectory(prefix="compare-", ignore_cleanup_errors=True) as profile:
        for argument in (
            "--headless",
            "--no-sandbox",  # its sandbox refuses to run as root
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            f"--user-data-dir={profile}",
        ):
            options.add_argument(argument)
        with webdriver.Chrome(options, Service(where("chromedriver"))) as driver:
            driver.execute_cdp_cmd("Network.enable", {})
            driver.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": True})
            driver.set_page_load_timeout(_TIMEOUT_S)
            yield driver


def _load(driver: Any, url: str) -> tuple[int, float]:
    """Load a page; return the bytes that were transferred for it, and the ms until it was loaded.

    The bytes are all that the network has brought, also for what a page fetches after its load
    event. Raises NoMeasurement if a part of it has an error status.
    """
    driver.get_log("performance")  # of what was before
    driver.get(url)
    deadline = time.monotonic() + _TIMEOUT_S
    while not (taken := driver.execute_script(_LOADED)):
        if time.monotonic() > deadline:
            raise NoMeasurement(f"{url} was not loaded in {_TIMEOUT_S:.0f} s")
        time.sleep(0.01)
    size = 0
    while True:
        time.sleep(_QUIET_S)
        events = [
            json.loads(entry["message"])["message"] for entry in driver.get_log("performance")
        ]
        network = [event for event in events if event["method"].startswith("Network.")]
        if not network:
            return size, taken
        size += sum(transferred(event, url) for event in network)


def transferred(event: dict[str, Any], url: str) -> int:
    """Return how many bytes an event of the browser says were transferred, headers included."""
    if event["method"] == _RECEIVED:
        response = event["params"]["response"]
        if response["status"] >= 400 and not response["url"].endswith(("no-such-page", ".ico")):
            raise NoMeasurement(f"{response['url']} of {url}: {response['status']}")
    return int(event["params"]["encodedDataLength"]) if event["method"] == _FINISHED else 0
