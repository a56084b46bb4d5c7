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
WIDTH, HEIGHT = 1200, 800  # a page that is longer makes the picture longer


def screenshot(driver: webdriver.Chrome, url: str, scheme: str) -> Image.Image:
    """Return a picture of the whole page in a color scheme, light or dark."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    metrics = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    driver.get(url)
    result = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
    return Image.open(io.BytesIO(base64.b64decode(result["data"])))


def draw(name: str, url: str) -> None:
    """Write NAME-light.png and NAME-dark.png."""
    options = Options()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    service = Service(shutil.which("chromedriver"))
    with webdriver.Chrome(options=options, service=service) as driver:
        for scheme in ("light", "dark"):
            image = screenshot(driver, url, scheme).convert("RGB")
            palette = image.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
            palette.save(HERE / f"{name}-{scheme}.png", optimize=True)


if __name__ == "__main__":
    draw("abench-html", Path(sys.argv[1]).resolve().as_uri())
