"""Hints for users of other load generators: what their options are called here.

Their options were looked up in wrk 4.2, wrk2, ab 2.4, hey 0.1.4, h2load 1.52, bombardier 1.2,
siege 4.1, oha 1.4 and curl 8.
"""

import os
from collections.abc import Sequence

from abench.cli.options import RunOptions
from abench.errors import ParameterError
from abench.plan.quantities import is_duration

_KEEP_ALIVE = "connections are kept alive unless --no-keepalive is given"
_HTTP2 = "HTTP/2 is not supported"
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
    "-f": "a file of URLs is --urls FILE; webbench's -f is abench --webbench -f",
    "-l": "the default, as ab's and bombardier's -l: lengths may vary, percentiles are shown",
    "-L": "percentiles are always shown",
    "--latency": "percentiles are always shown",
    "--latencies": "percentiles are always shown",
    "-o": "output files are --csv, --json, --hgrm and --html",
    "-g": "output files are --csv, --json, --hgrm and --html",
    "-e": "output files are --csv, --json, --hgrm and --html",
    "--threads": "wrk's -t and --threads are -w",
    "--rate-limit": "a rate is -R",
    "--disable-keepalive": "use --no-keepalive",
    "--duration-of-warmup": "use --warmup",
    "--warm-up-time": "use --warmup",
    "--connect-timeout": "--timeout limits each request, its connection included",
    "--limit-rate": "curl's --limit-rate is --bandwidth",
    "--location": "curl's --location is --follow",
    "--cookie-jar": "curl's --cookie-jar is --cookies, a jar for each connection",
    "--max-time": "--timeout limits each request, -t the run",
    "--body": "a body is -d",
    "--json-output": "use --json FILE",
    "--output-format": "use --json FILE",
    "--http2": _HTTP2,
    "--h1": "HTTP/1.1 is the default",
    "--http1.1": "HTTP/1.1 is the default",
}


def hint(option: str) -> str:
    """Return what an unknown option is called here, "" if it is not known at all."""
    return _HINTS.get(option, "")


def check(urls: Sequence[str], options: RunOptions) -> None:
    """Refuse valid options that mean something else in another load generator."""
    proxy = options.get("proxy")
    for text in options.get("data", []):
        if text.startswith("isable-"):
            raise ParameterError(
                "--data", f"hey's -d{text} is --no-keepalive or does not exist here"
            )
        if is_duration(text) and "method" not in options:
            raise ParameterError(
                "--data", f"wrk's -d {text} is -t {text} here, and its -t is -w; to send it, add -X"
            )
    if proxy is not None and os.access(proxy, os.R_OK):
        raise ParameterError("--proxy", f"{proxy} is a file: ab's -p FILE is -d @FILE here")
    if options.get("insecure") and urls and not any(url.startswith("https:") for url in urls):
        raise ParameterError("--insecure", f"{urls[0]} has no TLS; {_KEEP_ALIVE}, as with ab's -k")
