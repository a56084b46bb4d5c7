"""Draw docs/images/folder-{light,dark}.png: the page of a folder in Chromium.

python docs/images/folder.py      needs chromium and chromedriver
"""

import os
import subprocess
import sys
import tempfile
from calendar import timegm
from pathlib import Path

from page import draw

FILES = {
    "albums/": 0,
    "drafts/": 0,
    "annual-report-2026.pdf": 1_834_201,
    "concert.flac": 48_233_917,
    "film.mkv": 4_700_372_992,
    "grüße-κόσμε-안녕.txt": 54,
    "notes.md": 812,
    "README.md": 0,
    "sha256sums.txt": 1_020,
    "תמונה מהחוף.jpg": 3_310_482,
}
README = """# Summer

What we recorded, and what is left of it. Check your download with `sha256sum -c sha256sums.txt`.

| file | licence |
|---|---|
| concert.flac | [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/) |
| film.mkv | all rights reserved |
"""
FIRST = timegm((2026, 6, 21, 18, 30, 0))
DAY = 86_400


def make(root: Path) -> None:
    """Make the folder: the files are holes, and each has its own time."""
    for number, (name, size) in enumerate(FILES.items()):
        path = root / name
        if name.endswith("/"):
            path.mkdir()
        else:
            path.touch()
            os.truncate(path, size)
        if name == "README.md":
            path.write_text(README)
        time = FIRST + number * 11 * DAY + number * 5_000
        os.utime(path, (time, time))


with tempfile.TemporaryDirectory() as directory:
    site = Path(directory, "music")
    site.mkdir()
    make(site)
    command = [sys.executable, "-m", "aserve", directory, "--port", "0", "--title", "Downloads"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            words = (word for line in server.stderr or () for word in line.split())
            url = next(word for word in words if word.startswith("http://"))
            draw("folder", f"{url}music/")
        finally:
            server.terminate()
