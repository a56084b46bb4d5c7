"""The works that measure compression: aserve as it is by default, beside others that compress."""

from functools import partial

from benchmarks.compression import measure, sites
from benchmarks.compression.measure import CALM_RATE, FIRSTS
from benchmarks.kinds import Anew
from benchmarks.servers import SIBLINGS
from benchmarks.work import Work

LEVELS = ("nginx gzip 1", "nginx gzip 4", "nginx gzip 6")
_PEERS = ("nginx brotli", "caddy encode", "h2o compress", "lighttpd deflate")
EVERYBODY = ("aserve", *LEVELS, *_PEERS)
_FEW = ("aserve", LEVELS[-1], *_PEERS)
IN_CHROMIUM = ("aserve", LEVELS[-1], "caddy encode")
_PEER = LEVELS[-1]
_FIRST = (
    f"Median of {FIRSTS} files of JSON of 1 MB, each asked for once, from a server that was just "
    "started. Processor time is the server's between request and last byte; *later* is what it "
    "then takes for each file until it is quiet, before the next one is asked for. Compare both "
    "times with the level of nginx that has about the same size."
)

ROWS = (
    Work(
        "zip-cached",
        "compression: 100 KB of JSON that was compressed before",
        Anew(measure.measure_cached),
        (*_FEW, *SIBLINGS),
        peer=_PEER,
        note="*As it is*: a file that does not compress, of as many bytes as the first on the "
        "wire. Both are loaded in turns. A server that keeps no compressed response compresses "
        "again. *Siblings*: those that `aserve compress` has written.",
    ),
    Work(
        "zip-first-gzip",
        "compression: the first response of 1 MB, for a client that accepts gzip alone",
        Anew(measure.measure_first_gzip),
        EVERYBODY,
        peer=_PEER,
        note=_FIRST,
    ),
    Work(
        "zip-first",
        "compression: the first response of 1 MB, for a browser",
        Anew(measure.measure_first_browser),
        _FEW,
        peer=_PEER,
        note="The same for a client that accepts gzip, deflate, br and zstd.",
    ),
    Work(
        "zip-beside",
        "compression: a small file beside first responses of 1 MB",
        Anew(measure.measure_beside),
        _FEW,
        peer=_PEER,
        note=f"Another client asks for 1 KB on one connection: alone, and beside {CALM_RATE} files "
        "of 1 MB in each second, none of which was asked for before.",
    ),
    Work(
        "zip-bytes",
        "compression: bytes on the wire, a second later",
        Anew(measure.measure_bytes),
        (*EVERYBODY, *SIBLINGS),
        peer=_PEER,
        once=True,
        note="Bodies of JSON, HTML, SVG and JavaScript, of a few KB to 1 MB, for a browser: asked "
        "for the first time, again a second later, and when the server is quiet. Multiples are "
        "those of the same files compressed offline, of what is sent a second later.",
    ),
    *(
        Work(
            f"zip-site-{name}",
            f"compression: a site of {title} in Chromium",
            Anew(sites.measure_of(name), missing=partial(sites.missing, name)),
            IN_CHROMIUM,
            peer=_PEER,
            note="What the network brings, headers included, and the sum of load times, when "
            "every page of the site is loaded once with an empty cache from a server that was just "
            "started, and again a second later. Chromium has one core.",
        )
        for name, title in zip(sites.NAMES, ("MkDocs", "VitePress", "Docusaurus"), strict=True)
    ),
)
