"""`abench --classic`: webbench's own command line and its two lines of result.

What its options mean is as in webbench 1.5: one request per connection, HTTP/1.0 unless told
otherwise, and one way of counting too many left out. Speed counts pages that came whole and with
a status below 400, numbers are as large as they get, and the exit code tells how it went.
"""

import argparse
import sys
from typing import NoReturn

from abench.cli import invocation, redaction
from abench.cli.bench import exit_code, run
from abench.errors import ParameterError
from abench.plan import quantities
from abench.plan.plan import Plan
from abench.plan.route import Route
from abench.version import abench_version

_MIN_VERSION = {"GET": "0.9", "HEAD": "1.0", "OPTIONS": "1.1", "TRACE": "1.1"}
_TIME = quantities.option_parser(quantities.parse_seconds, "--time")
_CLIENTS = quantities.option_parser(quantities.parse_count, "--clients")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ParameterError("--classic", message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="abench --classic",
        add_help=False,
        description="What webbench does, with its options. See abench --help for all the rest.",
    )
    add = parser.add_argument
    add("-f", "--force", action="store_true", help="Don't wait for the reply.")
    add("-r", "--reload", action="store_true", help="Ask for it anew: Pragma: no-cache.")
    add("-t", "--time", type=_TIME, default=30.0, metavar="SEC", help="Run for SEC seconds (30).")
    add("-p", "--proxy", metavar="HOST:PORT", help="Ask this proxy; port 80 if not given.")
    add("-c", "--clients", type=_CLIENTS, default=1, metavar="N", help="Run N clients at once (1).")
    for flag, name, number in (
        ("-9", "--http09", "0.9"),
        ("-1", "--http10", "1.0"),
        ("-2", "--http11", "1.1"),
    ):
        about = f"Ask in HTTP/{number}."
        add(flag, name, dest="http", action="store_const", const=number, default="1.0", help=about)
    for method in _MIN_VERSION:
        about, name = f"Use {method}.", f"--{method.lower()}"
        add(name, dest="method", action="store_const", const=method, default="GET", help=about)
    add("-?", "-h", "--help", action="help", help="Print this and exit.")
    about = f"abench {abench_version()}, as webbench 1.5"
    add("-V", "--version", action="version", version=about, help="Print it and exit.")
    add("url", metavar="URL", help="http:// or https://")
    return parser


def webbench(arguments: list[str]) -> int:
    """Run what webbench would, and print its result lines."""
    parser = _parser()
    words = redaction.redact(arguments, redaction.argparse_options(parser))
    invocation.set_command_line(["--classic", *words])
    try:
        asked = parser.parse_args(arguments)
    except SystemExit:  # the help or the version was printed
        return 0
    plan = plan_from_arguments(asked)
    report = run(plan, quiet=False)
    pages, octets = int(report.pages_per_min), int(report.bytes_per_sec)
    print(f"Speed={pages} pages/min, {octets} bytes/sec.", file=sys.stdout)
    print(f"Requests: {report.succeeded} susceed, {report.failed} failed.", file=sys.stdout)
    return exit_code(report)


def plan_from_arguments(asked: argparse.Namespace) -> Plan:
    """Return the plan for webbench's options; raises ParameterError."""
    http = max(asked.http, _MIN_VERSION[asked.method])
    reload = asked.reload and http != "0.9"
    proxy = asked.proxy
    if proxy is not None and ":" not in proxy:
        proxy = f"{proxy}:80"
    return Plan(
        url=asked.url,
        connections=asked.clients,
        duration_s=asked.time,
        keep_alive=False,
        method=asked.method,
        http=http,
        headers=(("Pragma", "no-cache"),) if reload else (),
        wait=not asked.force,
        route=Route(proxy=proxy),
    )
