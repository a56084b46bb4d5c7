"""The files that are compressed: JSON as an API returns it, seeded, and text of this repository."""

import functools
import json
import os
import random
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.compression.replies import brotli, zstd
from benchmarks.servers import HERE, SIBLINGS, Server
from benchmarks.site import KB, MB, MODIFIED

NUMBER = 48
"""Files of about a MB, 0.json and so on: each is asked for once by one server."""

PAGE = "page.json"
SMALL = "1k.txt"
_PAGE_SIZE = 100 * KB
_FOLDER, _WITH_SIBLINGS = "compression", "compression-siblings"
_TEXT = (
    "the of and to in a is that for it as was with be by on not he his but at are this have "
    "from or had an they which one you were all her she there would their we him been has when "
    "who will no more if out so up said what its about than into them can only other time new "
    "some could these two may first then do any like my now over such our man me even most made "
    "after also did many off before must well back through years much where your way down "
    "should because long each just state those people too mr how little good world make very "
    "year still see own work men day get here old life both between being under three never "
    "know same last another while "
)
_WORDS = _TEXT.split()
_REPOSITORY = (
    "docs/explain-example.html",
    "docs/images/compare-size.svg",
    "aserve/explain/page.js",
)
_FIRST_JSON = "0.json"

MIXED = (_FIRST_JSON, PAGE, *(Path(name).name for name in _REPOSITORY))
"""JSON, HTML, SVG and JavaScript, of 1 MB to a few KB."""


def prepared(root: Path, server: Server) -> Path:
    """Return the folder of a server's files beneath a site; they are made when first asked for."""
    folder = _originals(root)
    return _with_siblings(root, folder) if server.name in SIBLINGS else folder


def _with_siblings(root: Path, originals: Path) -> Path:
    folder = root / _WITH_SIBLINGS
    if not folder.exists():
        folder.mkdir()
        for name in (*MIXED, SMALL):
            shutil.copy2(originals / name, folder / name)
        compress = [sys.executable, "-m", "aserve", "compress", folder]
        subprocess.run(compress, check=True, capture_output=True)
    return folder


def _originals(root: Path) -> Path:
    folder = root / _FOLDER
    if not folder.exists():
        folder.mkdir()
        for number in range(NUMBER):
            _write(folder / f"{number}.json", records(number, MB))
        _write(folder / PAGE, records(NUMBER, _PAGE_SIZE))
        _write(folder / SMALL, os.urandom(KB // 2).hex().encode())
        for name in _REPOSITORY:
            shutil.copyfile(HERE.parent / name, folder / Path(name).name)
            os.utime(folder / Path(name).name, (MODIFIED, MODIFIED))
    return folder


def incompressible(folder: Path, size: int) -> str:
    """Return the name of a file of so many bytes that do not compress."""
    name = f"{size}.bin"
    if not (folder / name).exists():
        _write(folder / name, random.Random(size).randbytes(size))
    return name


def records(seed: int, size: int) -> bytes:
    """Return a JSON document of at least so many bytes, the same for the same seed."""
    chance = random.Random(seed)
    found: list[str] = []
    length = 0
    while length < size:
        found.append(json.dumps(_record(chance, len(found))))
        length += len(found[-1]) + 2
    return f'{{"results": [{", ".join(found)}]}}'.encode()


def _record(chance: random.Random, number: int) -> dict[str, object]:
    """Return what an API tells of an order: a little of everything, most of it not random."""
    # Frequent words are frequent, as in any language.
    words = [_WORDS[int(chance.paretovariate(0.6)) % len(_WORDS)] for _ in range(24)]
    return {
        "id": 1_000_000 + number,
        "uuid": f"{chance.getrandbits(128):032x}",
        "status": chance.choice(("open", "paid", "sent", "returned")),
        "created_at": f"2026-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}T"
        f"{chance.randint(0, 23):02}:{chance.randint(0, 59):02}:00Z",
        "customer": {"name": " ".join(words[:2]).title(), "email": f"{words[0]}@example.com"},
        "price": {"amount": chance.randint(100, 99_999) / 100, "currency": "EUR"},
        "position": [round(chance.uniform(-90, 90), 5), round(chance.uniform(-180, 180), 5)],
        "tags": chance.sample(("new", "gift", "fragile", "express", "bulk"), 2),
        "is_gift": chance.random() < 0.1,
        "note": " ".join(words).capitalize() + ".",
    }


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    os.utime(path, (MODIFIED, MODIFIED))


def _gzip_9(data: bytes) -> bytes:
    compressor = zlib.compressobj(9, wbits=31)
    return compressor.compress(data) + compressor.flush()


BEST: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip9_times": _gzip_9,
    "zstd19_times": lambda data: zstd().compress(data, 19),
    "brotli11_times": lambda data: brotli().compress(data, quality=11),
}
"""Each coding at its best level, by the figure that is a multiple of it."""


@functools.cache
def offline(folder: Path) -> Mapping[str, int]:
    """Return how many bytes the mixed files have in each coding at its best: takes seconds."""
    contents = [(folder / name).read_bytes() for name in MIXED]
    return {name: sum(len(best(data)) for data in contents) for name, best in BEST.items()}
