"""The files that the table uses: known bytes, known times, and files that must not be served."""

import gzip
import os
import stat
from calendar import timegm
from pathlib import Path

MODIFIED = timegm((2024, 5, 4, 3, 2, 1))
"""The modification time of every file that is not in OTHER_TIMES, in POSIX seconds."""
LAST_MODIFIED = "Sat, 04 May 2024 03:02:01 GMT"

HELLO = b"Hello, world.\n"
TEN = b"0123456789"
LARGE = b"".join(number.to_bytes(4, "big") for number in range(50_000))
"""200,000 bytes in which no aligned four repeat, so that a wrong offset shows."""
PAGE = b"<!doctype html>\n<title>Page</title>\n" + b"<p>It was a dark and stormy night.\n" * 60
STYLE = b"body { color: black; background: white }\n" * 50
INDEX = b"<!doctype html>\n<title>Root</title>\n"
SUB_INDEX = b"<!doctype html>\n<title>Sub</title>\n"
SECRET = b"TOP SECRET: this lies outside of the site\n"
HIDDEN = b"TOP SECRET: this is a dotfile\n"

PAGE_GZIP = gzip.compress(PAGE, mtime=0)
STYLE_GZIP = gzip.compress(STYLE, mtime=0)
# Servers send siblings unchanged, so these only have to differ and may be opaque.
# As in practice, brotli is the smallest here and gzip the largest.
PAGE_BR = b"\x1b\x01\x02 as if by brotli, opaque"
PAGE_ZSTD = b"\x28\xb5\x2f\xfd as if by zstandard, as opaque as that but longer"

FILES: dict[str, bytes] = {
    "index.html": INDEX,
    "hello.txt": HELLO,
    "ten.txt": TEN,
    "empty.txt": b"",
    "large.bin": LARGE,
    "probe.txt": b"the probe was answered\n",
    "sub/index.html": SUB_INDEX,
    "sub/page.html": b"<!doctype html>\n<title>Sub page</title>\n",
    "deep/er/file.txt": b"deep\n",
    "wörter/index.html": b"<!doctype html>\n<title>W\xc3\xb6rter</title>\n",
    "two words/index.html": b"<!doctype html>\n<title>Two words</title>\n",
    # Names
    "with space.txt": b"space\n",
    "grüße.txt": b"umlaut\n",
    "κόσμε.txt": b"greek\n",
    "100%.txt": b"percent\n",
    "%41.txt": b"literal percent 41\n",
    "A.txt": b"letter A\n",
    "back\\slash.txt": b"backslash\n",
    "odd!$&'()*+,;=:@-._~.txt": b"sub-delims\n",
    'quo"te.txt': b"quote\n",
    "ques?tion.txt": b"question mark\n",
    "ha#sh.txt": b"hash\n",
    "a+b.txt": b"plus\n",
    "brace{}|^`.txt": b"braces\n",
    "README": b"no suffix\n",
    # Media types
    "type.js": b"0;\n",
    "type.css": b"a{}\n",
    "type.json": b"{}\n",
    "type.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>\n",
    "type.svgz": gzip.compress(b"<svg xmlns='http://www.w3.org/2000/svg'/>\n", mtime=0),
    "type.svgz.br": b"never sent: what is beside it is coded already",
    "type.xml": b"<?xml version='1.0' encoding='iso-8859-1'?><a>\xe9</a>\n",
    "type.atom": b"<?xml version='1.0' encoding='iso-8859-1'?><feed/>\n",
    "type.xhtml": b"<?xml version='1.0' encoding='iso-8859-1'?><html/>\n",
    "type.png": b"\x89PNG\r\n\x1a\n",
    "type.unknown-suffix": b"?\n",
    "TYPE.HTML": b"<!doctype html>\n<title>Loud</title>\n",
    # Times
    "future.txt": b"from the future\n",
    "older.txt": b"from 1994\n",
    # Codings
    "page.html": PAGE,
    "page.html.gz": PAGE_GZIP,
    "page.html.br": PAGE_BR,
    "page.html.zst": PAGE_ZSTD,
    "style.css": STYLE,
    "style.css.gz": STYLE_GZIP,
    "stale.css": STYLE,
    "stale.css.gz": gzip.compress(b"what it was an hour before\n", mtime=0),
    "folder.css": STYLE,
    "folder.css.gz/index.html": b"a folder is no coding\n",
    "linked.css": STYLE,
    "pipe.css": STYLE,
    "archive.tar.gz": STYLE_GZIP,
    # Dotfiles
    ".hidden": HIDDEN,
    ".git/config": HIDDEN,
    "sub/.hidden": HIDDEN,
    ".well-known/security.txt": b"Contact: mailto:security@example.org\n",
    ".well-known/.hidden": HIDDEN,
}

OTHER_TIMES = {
    "future.txt": timegm((2099, 1, 1, 0, 0, 0)),
    "older.txt": timegm((1994, 11, 6, 8, 49, 37)),
    "stale.css.gz": MODIFIED - 3600,
}

LINKS = {
    "inside.txt": "hello.txt",
    "sub/inside.txt": "../hello.txt",
    "inside-folder": "sub",
    "dangling.txt": "nothing",
    "loop.txt": "loop.txt",
    "outside.txt": "../outside/secret.txt",
    "outside-folder": "../outside",
    "passwd": "/etc/passwd",
    "linked.css.gz": "../outside/secret.txt",
}


def build(directory: Path) -> Path:
    """Create the files in an empty directory; return their root. Files beside it are secret."""
    root, outside = directory / "root", directory / "outside"
    for parent, name, data in (
        (outside, "secret.txt", SECRET),
        *((root, name, data) for name, data in FILES.items()),
    ):
        path = parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        modified = OTHER_TIMES.get(name, MODIFIED)
        os.utime(path, (modified, modified))
    for name, target in LINKS.items():
        (root / name).symlink_to(target)
    (root / "absolute-inside.txt").symlink_to(root / "hello.txt")
    (root / "bare").mkdir()  # a directory without an index
    os.mkfifo(root / "pipe")
    os.mkfifo(root / "pipe.css.gz")
    os.mknod(root / "socket", stat.S_IFSOCK | 0o644)
    return root
