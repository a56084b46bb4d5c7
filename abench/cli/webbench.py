"""`abench --webbench`: webbench's own command line and its two lines of result.

Options mean the same as in webbench 1.5: one request per connection, and HTTP/1.0 by default.
Unlike there, Speed counts only complete responses with a status below 400, numbers do not
overflow, and the exit code reports success or failure. With --by-the-book it counts and prints as
webbench does, and forks a child for each client.
"""

import argparse
import sys
import time
from typing import NoReturn

from abench.cli import invocation, redaction
from abench.cli.bench import exit_code, run
from abench.cli.exit_codes import INTERNAL, OK, UNREACHABLE
from abench.errors import ParameterError
from abench.plan import quantities
from abench.plan.plan import Plan
from abench.plan.route import Route
from abench.runner import forked_clients
from abench.version import abench_version

_MIN_VERSION = {"GET": "0.9", "HEAD": "1.0", "OPTIONS": "1.1", "TRACE": "1.1"}
_TIME = quantities.option_parser(quantities.parse_seconds, "--time")
_CLIENTS = quantities.option_parser(quantities.parse_count, "--clients")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ParameterError("--webbench", f"{message}; see abench --webbench --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="abench --webbench",
        add_help=False,
        description="Runs webbench with its own options. See abench --help for all other options.",
    )
    add = parser.add_argument
    add("-f", "--force", action="store_true", help="Do not wait for the response.")
    add("-r", "--reload", action="store_true", help="Send Pragma: no-cache.")
    add("-t", "--time", type=_TIME, default=30.0, metavar="SEC", help="Run for SEC seconds (30).")
    add("-p", "--proxy", metavar="HOST:PORT", help="Use this proxy (port 80).")
    add("-c", "--clients", type=_CLIENTS, default=1, metavar="N", help="Run N clients at once (1).")
    for flag, name, number in (
        ("-9", "--http09", "0.9"),
        ("-1", "--http10", "1.0"),
        ("-2", "--http11", "1.1"),
    ):
        about = f"Use HTTP/{number}."
        add(flag, name, dest="http", action="store_const", const=number, default="1.0", help=about)
    for method in _MIN_VERSION:
        about, name = f"Use {method}.", f"--{method.lower()}"
        add(name, dest="method", action="store_const", const=method, default="GET", help=about)
    about = "Fork a child for each client, and count as webbench does."
    add("--by-the-book", action="store_true", help=about)
    add("-?", "-h", "--help", action="help", help="Print this help and exit.")
    about = f"abench {abench_version()}, as webbench 1.5"
    add("-V", "--version", action="version", version=about, help="Print the version and exit.")
    add("url", metavar="URL", help="http:// or https://")
    return parser


def webbench(arguments: list[str]) -> int:
    """Run as webbench does, and print its two lines of result."""
    parser = _parser()
    words = redaction.redact(arguments, redaction.argparse_options(parser))
    invocation.set_command_line(["--webbench", *words])
    try:
        options = parser.parse_args(arguments)
    except SystemExit:  # the help or the version was printed
        return 0
    plan = plan_from_arguments(options)
    if options.by_the_book:
        return _run_by_the_book(plan, options)
    report = run(plan, quiet=False)
    pages, size = int(report.pages_per_min), int(report.bytes_per_sec)
    print(f"Speed={pages} pages/min, {size} bytes/sec.", file=sys.stdout)
    print(f"Requests: {report.succeeded} susceed, {report.failed} failed.", file=sys.stdout)
    return exit_code(report)


def _run_by_the_book(plan: Plan, options: argparse.Namespace) -> int:
    """Run and print as webbench does; its own name on standard error is ours."""
    forked_clients.check(plan)
    print(f"Webbench - Simple Web Benchmark 1.5, by abench {abench_version()}", file=sys.stderr)
    print(f"\n{_describe_run(plan, options)}", flush=True)
    started = time.monotonic()
    counts = forked_clients.run(plan)
    seconds = min(options.time, time.monotonic() - started)
    pages = int((counts.succeeded + counts.failed) / (seconds / 60))
    print(f"\nSpeed={pages} pages/min, {int(counts.bytes_received / seconds)} bytes/sec.")
    print(f"Requests: {counts.succeeded} susceed, {counts.failed} failed.")
    if counts.lost:
        print(f"abench: {counts.lost} of {plan.connections} children died", file=sys.stderr)
        return INTERNAL
    if counts.stopped_by:
        return 128 + counts.stopped_by
    return OK if counts.succeeded else UNREACHABLE


def _describe_run(plan: Plan, options: argparse.Namespace) -> str:
    """Return the lines in which webbench says what it is going to do."""
    http = "" if plan.http == "1.0" else f" (using HTTP/{plan.http})"
    clients = "1 client" if plan.connections == 1 else f"{plan.connections} clients"
    parts = [f"{clients}, running {options.time:g} sec"]
    if options.force:
        parts.append("early socket close")
    if options.proxy:
        host, port = plan.route.endpoint(plan.target)
        parts.append(f"via proxy server {host}:{port}")
    if options.reload:
        parts.append("forcing reload")
    return f"Benchmarking: {plan.method} {plan.target.url}{http}\n{', '.join(parts)}."


def plan_from_arguments(options: argparse.Namespace) -> Plan:
    """Return the plan for webbench's options; raises ParameterError."""
    http = max(options.http, _MIN_VERSION[options.method])
    reload = options.reload and http != "0.9"
    proxy = options.proxy
    if proxy is not None and ":" not in proxy:
        proxy = f"{proxy}:80"
    return Plan(
        url=options.url,
        connections=options.clients,
        duration_s=options.time,
        keep_alive=False,
        method=options.method,
        http=http,
        headers=(("Pragma", "no-cache"),) if reload else (),
        wait=not options.force,
        route=Route(proxy=proxy),
    )
