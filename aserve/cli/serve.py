"""The command `aserve DIR`: its options, and what --help shows after them."""

from collections.abc import Mapping
from typing import Unpack

from aserve.cli.declarations import with_options
from aserve.cli.help import Rows
from aserve.cli.options import CommandOptions, Paths, Version
from aserve.cli.serving import serve_site
from aserve.config.limit_values import limit_rows
from aserve.handlers.clean_urls import CONVENTIONS
from aserve.transport.registry import MODELS

SECTIONS: Mapping[str, Rows] = {
    "Limits, each with its default": limit_rows(),
    "URLs": [
        ("plain", "each URL is the path of a file"),
        *((name, convention.summary) for name, convention in CONVENTIONS.items()),
    ],
    "Headers by path": [
        ("--header '/* X-Frame-Options: DENY'", "of all responses"),
        ("--header '*.{mp3,ogg} Cache-Control: max-age=60'", "* is anything, / too"),
        ("--header '/docs/* X-Frame-Options:'", "removed; the last rule wins"),
    ],
    "Where clients may write": [
        ("--write", "files are added, replaced and deleted anywhere"),
        ("--write=/in", "only below /in/; repeatable"),
        ("--write=add", "new names only: none is replaced or deleted"),
        ("--write=add:/in", "both"),
    ],
    "Who may read, and who may change files": [
        ("users", "everyone with a login; the default where there are logins"),
        ("anyone, nobody", "everyone; no one"),
        ("ann,ben", "these users"),
    ],
    "Host names that are answered": [
        ("any", "all; the default, unless there is a terminal"),
        ("local", "localhost, *.localhost, addresses, names of this machine"),
        ("a.test,*.b.test", "these, and the local ones"),
    ],
    "Models": [(name, info.summary) for name, info in MODELS.items()],
    "Examples": (
        ("aserve", "# this directory, on port 8000"),
        ("aserve -o www/", "# www/, opened in the browser"),
        ("aserve film.mkv", "# one file, and nothing else"),
        ("aserve docs=/srv/docs www/", "# www/, with /srv/docs at /docs/"),
        ("aserve --spa dist/", "# a single-page app"),
        ("aserve --cors --cache 60 www/", "# for pages of other sites"),
        ("aserve --live www/", "# pages follow changes of files"),
        ("aserve --write=/in www/", "# files may be uploaded to /in/"),
        ("aserve --https www/", "# by TLS; once: aserve trust"),
        ("aserve --htpasswd users.txt www/", "# for those with a login"),
        ("aserve --lan film.mkv", "# to phones near you, by a QR code"),
        ("aserve --share www/", "# links of aserve share are answered"),
        ("aserve --rate 100/s --bandwidth 5M www/", "# not all to one client"),
        ("aserve -p 80 --host '*' www/", "# to everyone who reaches it"),
        ("aserve -w auto --access-log access.log www/", "# a process per CPU, a log"),
        ("aserve --limit max-connections=500 www/", "# at most 500 connections"),
        ("aserve check www/", "# what is in effect, and risky"),
        ("aserve reload", "# new settings while it runs"),
        ("aserve explain www/ /index.html", "# what happens for one request"),
    ),
}
"""What --help shows after the options."""


@with_options(CommandOptions)
def serve(paths: Paths = None, _version: Version = False, **options: Unpack[CommandOptions]) -> int:
    """Serve the files of a directory over HTTP/1.1."""
    return serve_site(paths or (), options)
