"""Draw docs/images/abench-html-{light,dark}.png: an HTML report of abench in Chromium.

python docs/images/page.py report.html      needs chromium and chromedriver
"""

import base64
import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

HERE = Path(__file__).parent
WIDTH = 1200


def screenshot(driver: webdriver.Chrome, page: Path, scheme: str) -> Image.Image:
    """Return a picture of the whole page in a color scheme, light or dark."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    metrics = {"width": WIDTH, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    driver.get(page.resolve().as_uri())
    result = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
    return Image.open(io.BytesIO(base64.b64decode(result["data"])))


def draw(page: Path) -> None:
    """Write both pictures."""
    options = Options()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    service = Service(shutil.which("chromedriver"))
    with webdriver.Chrome(options=options, service=service) as driver:
        for scheme in ("light", "dark"):
            image = screenshot(driver, page, scheme).convert("RGB")
            palette = image.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
            palette.save(HERE / f"abench-html-{scheme}.png", optimize=True)


draw(Path(sys.argv[1]))
