"""What is measured: a work is one row of WORKS, with the goals that we have set for it."""

from benchmarks import idle, listing, loaders, slow_downloads, startup, uploads
from benchmarks.browser_headers import BROWSER
from benchmarks.compression import works as compression
from benchmarks.figures import Goal
from benchmarks.kinds import Anew, Timed
from benchmarks.loads import Ask
from benchmarks.loops import works as loops
from benchmarks.servers import BOTH
from benchmarks.site import FOLDERS, LAST_MODIFIED
from benchmarks.tls import works as tls
from benchmarks.work import Work

NGINX = ("nginx", "nginx sendfile")
C = (*NGINX, "lighttpd", "h2o")
OTHERS = ("caddy", "granian", "starlette", "aiohttp", "http.server")
EVERYBODY = ("aserve", *C, *OTHERS)
LOGGED = ("nginx log", "nginx sendfile log")
UNCACHED = ("nginx uncached", "nginx sendfile uncached")
ASERVE_UNCACHED = "aserve uncached"
WRITING = ("aserve writing", "nginx writing", "dufs writing")
WRITING_FSYNC_OFF = "aserve writing no fsync"
OWN_LISTINGS = ("caddy listing", "dufs", "miniserve")


def _random(folder: str) -> Ask:
    count = FOLDERS[folder]
    checked = tuple(f"/{folder}/{number}.txt" for number in (0, count // 2, count - 1))
    return Ask(64, checked[0], script="random.lua", arguments=(folder, str(count)), checked=checked)


_HONEST_LOG = (
    "Lines are counted: *log lines per request* below 1 means that a server has not logged every "
    "request."
)
_SHARED = (
    "With two cores, none is left for the load generator: wrk shares both with the server, and two "
    "workers gain less in rate than they would with cores to spare."
)
_FLATTERED = (
    "*aserve* answers from its response cache, does not do this work, and is shown for comparison."
)

_FSYNC = "Only *aserve writing* calls fsync, for the file and its folder, before it responds"

_ROWS = (
    Work(
        "1k-64",
        "1 KB, 64 connections",
        Timed(Ask(64)),
        ("aserve", ASERVE_UNCACHED, "floor", *C, *OTHERS),
        (Goal(0.95, C), Goal(1.08, ("floor",))),
        note="The floor is a bare uvloop Protocol that writes the same bytes and looks at nothing.",
    ),
    Work(
        "1k-1000",
        "1 KB, 1,000 connections",
        Timed(Ask(1_000)),
        ("aserve", "floor", *C, *OTHERS),
        (Goal(0.95, C), Goal(1.08, ("floor",))),
    ),
    Work("1k-1", "1 KB, 1 connection", Timed(Ask(1)), ("aserve", "floor", *C, *OTHERS)),
    Work("1k-256", "1 KB, 256 connections", Timed(Ask(256)), ("aserve", "floor", *C, *OTHERS)),
    Work(
        "1k-64-abench",
        "1 KB, 64 connections, loaded by abench",
        Timed(Ask(64), tool="abench"),
        ("aserve", "floor", *C),
    ),
    Work(
        "1k-1000-abench",
        "1 KB, 1,000 connections, loaded by abench",
        Timed(Ask(1_000), tool="abench"),
        ("aserve", "floor", *C),
    ),
    Work(
        "log",
        "1 KB, 64 connections, with an access log",
        Timed(Ask(64)),
        ("aserve log", *LOGGED, "nginx buffered log"),
        (Goal(1.00, LOGGED, of="aserve log"),),
        peer="nginx log",
        note=f"{_HONEST_LOG} nginx writes each line separately unless it is configured to buffer.",
    ),
    Work(
        "heads",
        "1 KB, browser heads that never repeat",
        Timed(Ask(64, headers=BROWSER, script="cookie.lua")),
        ("aserve", ASERVE_UNCACHED, *C),
        (Goal(1.15, NGINX),),
        note="13 headers in each request, one of them a cookie that was never sent before.",
    ),
    Work(
        "many",
        "5,000 files of 1 KB at random",
        Timed(_random("many")),
        ("aserve", *C),
        (Goal(1.10, C),),
        folders=True,
    ),
    Work("4k", "4 KB", Timed(Ask(64, "/4k.txt")), EVERYBODY, (Goal(1.00, C),)),
    Work(
        "100k",
        "100 KB",
        Timed(Ask(16, "/100k.bin")),
        ("aserve", ASERVE_UNCACHED, *C, *OTHERS),
        (Goal(1.00, C),),
        note="16 connections.",
    ),
    Work(
        "1m",
        "1 MB",
        Timed(Ask(16, "/1m.bin")),
        EVERYBODY,
        (Goal(1.00, C),),
        note="16 connections. Responses are counted by their bytes.",
    ),
    Work(
        "100m",
        "100 MB",
        Timed(Ask(4, "/100m.bin")),
        EVERYBODY,
        (Goal(1.00, C),),
        note="4 connections. Responses are counted by their bytes.",
    ),
    Work(
        "closing",
        "1 KB, a connection for each request",
        Timed(Ask(64, closing=True), tool="ab"),
        ("aserve", *C),
        (Goal(1.05, NGINX),),
        note="Loaded by ab without -k, whose percentiles are whole milliseconds.",
    ),
    Work(
        "304",
        "304 Not Modified",
        Timed(Ask(64, headers={"If-Modified-Since": LAST_MODIFIED}, status=304)),
        ("aserve", *C),
        (Goal(1.00, NGINX),),
    ),
    Work(
        "range",
        "a single range of 100 bytes",
        Timed(Ask(64, headers={"Range": "bytes=100-199"}, status=206)),
        ("aserve", *C),
        (Goal(1.00, NGINX),),
    ),
    Work(
        "pipelined",
        "1 KB, pipelined 16 deep",
        Timed(Ask(64, script="pipelined.lua", arguments=("16",))),
        ("aserve", *C),
        (Goal(1.00, NGINX, "rate"),),
    ),
    Work(
        "cold",
        "50,000 files of 1 KB at random, not cached by the server",
        Timed(_random("cold")),
        (ASERVE_UNCACHED, "aserve", *UNCACHED, "h2o"),
        (Goal(1.30, UNCACHED, of=ASERVE_UNCACHED),),
        peer="nginx uncached",
        note=f"The files are in the page cache. {_FLATTERED} lighttpd cannot do it: it keeps a "
        "descriptor for each file that it has just sent, and answers 403 when it runs out.",
        folders=True,
    ),
    Work(
        "idle",
        f"{idle.NUMBER:,} idle connections",
        Anew(idle.measure),
        ("aserve", "nginx", "lighttpd", "h2o"),
        note="The server is restarted in each round. Each connection has had one response before "
        "it is idle; p99 is that of 64 busy connections. Memory that a server allocates at start "
        "for later connections, as nginx does, is in *MiB before*. lighttpd keeps half of its "
        "descriptors for files, and holds as many connections as the limit then leaves.",
    ),
    Work(
        "slow",
        "slow downloads of 100 MB",
        Anew(slow_downloads.measure),
        ("aserve", "nginx sendfile", "lighttpd"),
        peer="nginx sendfile",
        note="The server is restarted in each round. Each client reads "
        f"{slow_downloads.READ_SIZE:,} bytes once a second, from several addresses of 127.0.0.0/8, "
        "with segments and a receive buffer as over Ethernet. There are "
        f"{slow_downloads.NUMBER:,} of them, or as many as the limit of descriptors leaves with "
        "two for each. *Reads without data* is the share that found nothing. Memory of the kernel "
        "for sockets is not in it.",
    ),
    Work(
        "listing",
        f"A page of a directory with {FOLDERS[listing.FOLDER]:,} files",
        Anew(listing.measure),
        ("aserve", "nginx listing", "lighttpd listing", *OWN_LISTINGS, "http.server"),
        peer="nginx listing",
        note="The server is restarted in each round. aserve has read and sorted all names and "
        "shows the first 1,000; the others send all of them on one page. p99 and longest are those "
        "of another client, which asks for 1 KB on one connection, alone and beside one page after "
        "the other. *Held by the server* is how much of that is not the machine's: the processor "
        "time of the server between a request for 1 KB and its response, beside the same pages.",
        folders=True,
    ),
    Work(
        "put-1g",
        "PUT of 1 GB",
        Anew(uploads.measure_large),
        (*WRITING, WRITING_FSYNC_OFF),
        (Goal(0.90, (), "dd_times", of="aserve writing"),),
        peer="nginx writing",
        note=f"Sent by `curl -T`. dd copies the same bytes to the same disk before and behind "
        "each upload, with conv=fsync, and its speed is the measure of theirs. A file is on the "
        f"disk when fsync returns. {_FSYNC}: for the others it is called behind the response. "
        "Processor time is the server's until the response.",
    ),
    Work(
        "put-10k",
        "PUT of 10 KB, 64 connections",
        Anew(uploads.measure_small),
        (*WRITING, WRITING_FSYNC_OFF),
        peer="nginx writing",
        note=f"Sent by `abench -X PUT -d @FILE 'URL/{{n}}'`, each file under a new name. {_FSYNC}.",
    ),
    Work(
        "put-beside",
        "A small file beside uploads",
        Anew(uploads.measure_beside),
        (*WRITING, WRITING_FSYNC_OFF),
        peer="nginx writing",
        note="Another client asks for 1 KB on one connection: alone, beside "
        f"{uploads.CALM_RATE} uploads of 10 KB each second on {uploads.CONNECTIONS} connections, "
        f"and beside one large upload of {uploads.CALM_MB_S} MB/s. The first figure is that of "
        "the worse of the two.",
    ),
    Work(
        "workers",
        "1 KB, 64 connections, one and two workers on two cores",
        Timed(Ask(64), server_cores=BOTH, load_cores=BOTH),
        ("aserve", "aserve 2 workers", "nginx", "nginx 2 workers"),
        note=f"{_SHARED} For a request this small, wrk takes about as much as a server: one worker "
        "and wrk fill two cores, and a second worker cannot gain much.",
    ),
    Work(
        "workers-cold",
        "50,000 files at random, one and two workers on two cores",
        Timed(_random("cold"), server_cores=BOTH, load_cores=BOTH),
        (
            ASERVE_UNCACHED,
            f"{ASERVE_UNCACHED} 2 workers",
            "nginx uncached",
            "nginx uncached 2 workers",
        ),
        peer="nginx uncached",
        note=f"{_SHARED} A request costs the server more than wrk here, so more of the gain shows.",
        folders=True,
    ),
    Work(
        "start",
        "From the command to the first response",
        Anew(startup.measure),
        EVERYBODY,
    ),
)
WORKS = {
    row.name: row for row in (*_ROWS, *compression.ROWS, *loaders.ROWS, *loops.ROWS, *tls.ROWS)
}
