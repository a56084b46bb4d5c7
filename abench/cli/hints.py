"""What users of other load generators type, and what it is called here.

Their options were looked up in wrk 4.2, wrk2, ab 2.4, hey 0.1.4, h2load 1.52, bombardier 1.2,
siege 4.1, oha 1.4 and curl 8.
"""

import os
from collections.abc import Sequence

from abench.errors import ParameterError
from abench.plan.quantities import is_duration

_KEPT_ALIVE = "connections are kept alive unless --no-keepalive is given"
_HTTP2 = "HTTP/2 is not spoken here"
_HINTS = {
    "-z": "hey's and oha's -z is -t",
    "-D": "h2load's -D is -t, hey's -D FILE is -d @FILE",
    "-q": "hey's -q is -R for all connections together; oha's too",
    "-m": "hey's -m METHOD is -X METHOD",
    "-i": "ab's -i is -X HEAD",
    "-T": "ab's and hey's -T TYPE is -H 'Content-Type: TYPE'",
    "-A": "ab's -A NAME:PASSWORD is -u NAME:PASSWORD",
    "-a": "hey's -a NAME:PASSWORD is -u NAME:PASSWORD",
    "-C": "ab's -C NAME=VALUE is -b NAME=VALUE",
    "-x": "hey's and curl's -x is -p",
    "-s": "wrk's scripts are --urls, --replay and {n} here; ab's -s is --timeout",
    "-f": "a file of URLs is --urls FILE; webbench's -f is abench --classic -f",
    "-l": "ab's -l is usual here, and bombardier's: lengths may vary, percentiles are shown",
    "-L": "percentiles are always shown",
    "--latency": "percentiles are always shown",
    "--latencies": "percentiles are always shown",
    "-o": "a file is written by --csv, --json, --hgrm or --html",
    "-g": "a file is written by --csv, --json, --hgrm or --html",
    "-e": "a file is written by --csv, --json, --hgrm or --html",
    "--threads": "wrk's -t and --threads are -w",
    "--rate-limit": "a rate is -R",
    "--disable-keepalive": "that is --no-keepalive",
    "--duration-of-warmup": "that is --warmup",
    "--warm-up-time": "that is --warmup",
    "--connect-timeout": "--timeout limits each request, its connection included",
    "--max-time": "--timeout limits each request, -t the run",
    "--body": "a body is -d",
    "--json-output": "that is --json FILE",
    "--output-format": "that is --json FILE",
    "--http2": _HTTP2,
    "--h1": "HTTP/1.1 is usual here",
    "--http1.1": "HTTP/1.1 is usual here",
}


def hint(option: str) -> str:
    """Return what an option that is not known here is called, or nothing."""
    return f" ({_HINTS[option]})" if option in _HINTS else ""


def check(
    urls: Sequence[str],
    data: Sequence[str],
    method: str | None,
    proxy: str | None,
    *,
    insecure: bool,
) -> None:
    """Refuse what is valid here, but means something else to whoever has typed it."""
    for text in data:
        if text.startswith("isable-"):
            raise ParameterError("--data", f"hey's -d{text} is --no-keepalive, or has no like here")
        if is_duration(text) and method is None:
            raise ParameterError(
                "--data", f"wrk's -d {text} is -t {text} here, and its -t is -w; to send it, add -X"
            )
    if proxy is not None and os.access(proxy, os.R_OK):
        raise ParameterError("--proxy", f"{proxy} is a file: ab's -p FILE is -d @FILE here")
    if insecure and urls and not any(url.startswith("https:") for url in urls):
        raise ParameterError("--insecure", f"{urls[0]} has no TLS; {_KEPT_ALIVE}, as by ab's -k")
