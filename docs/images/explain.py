"""Draw the pictures of explain: two SVGs, a page as an example, and how it looks in Chromium.

python docs/images/explain.py      needs strace, chromium and chromedriver
"""

import base64
import io
import shutil
import subprocess
import sys

from page import HERE
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

ROOT = HERE.parent.parent
EXAMPLE = HERE.parent / "explain-example.html"
MODELS = "blocking,nonblocking,epoll,reactor,proactor"
STEPS = 14  # forward from the first one
WIDTH, HEIGHT = 1200, 900


def explain(*options: str) -> str:
    """Return what the program prints for the home page of the sample site."""
    command = [sys.executable, "-m", "aserve", "explain", "www/", "/index.html", *options]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    # The path of this working copy does not belong into the pictures.
    return printed.replace(f"{ROOT}/", "").replace(str(ROOT), ".")


def picture(driver: webdriver.Chrome, scheme: str) -> Image.Image:
    """Return a picture of the reactor's steps in a color scheme, light or dark."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    metrics = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    driver.get("about:blank")
    driver.get(f"{EXAMPLE.as_uri()}#m-reactor")
    body = driver.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.HOME, *[Keys.ARROW_RIGHT] * STEPS)
    driver.execute_script("document.querySelector('#m-reactor').scrollIntoView()")
    result = driver.execute_cdp_cmd("Page.captureScreenshot", {})
    return Image.open(io.BytesIO(base64.b64decode(result["data"])))


def main() -> None:
    """Write all of them."""
    for name, *options in (
        ("reactor", "--model", "reactor"),
        ("simulated-proactor", "--cold"),
    ):
        (HERE / f"explain-{name}.svg").write_text(explain("--svg", "-", *options))
    EXAMPLE.write_text(explain("--html", "-", "--model", MODELS))
    options = Options()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    with webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver"))) as driver:
        for scheme in ("light", "dark"):
            image = picture(driver, scheme).convert("RGB")
            palette = image.quantize(128, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
            palette.save(HERE / f"explain-page-{scheme}.png", optimize=True)


main()
