"""`aserve check`: the configuration in effect, what is risky in it, and what decides a response."""

import os
import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Unpack
from urllib.parse import urlsplit

from aserve.cli.declarations import declare, with_options
from aserve.cli.exit_codes import OK
from aserve.cli.help import Rows
from aserve.cli.messages import print_message
from aserve.cli.notes import note_lines
from aserve.cli.options import CommandOptions, Paths
from aserve.config.configuration import Configuration, label_of, named_by, read_configuration
from aserve.config.effective import format_configuration
from aserve.config.names import DEFAULT_PLACE
from aserve.config.settings import SettingsError
from aserve.http.host_names import browser_host
from aserve.http.messages import REASON_PHRASES
from aserve.server.decision import BROWSER_HEADERS, Decision, decide
from aserve.server.setting_warnings import find_warnings

SECTIONS: Mapping[str, Rows] = {
    "Examples": (
        ("aserve check", "# of aserve.toml and ASERVE_ variables"),
        ("aserve check --config site.toml", "# of another file"),
        ("aserve check --spa www/", "# with options of aserve, too"),
        ("aserve check --explain /docs/ www/", "# what a browser gets, and why"),
        ("aserve check --explain http://b.test/", "# from one of several hosts"),
    )
}

_CHECK = "Check"

Explain = Annotated[
    str | None,
    declare(
        _CHECK,
        "--explain",
        value="URL",
        text="Say what decides the response to it.",
    ),
]
RequestHeaders = Annotated[
    list[str] | None,
    declare(
        _CHECK,
        "--request-header",
        value="'NAME: VALUE'",
        text="A header of that request; repeatable.",
    ),
]


@with_options(CommandOptions)
def check(
    paths: Paths = None,
    explain: Explain = None,
    request_header: RequestHeaders = None,
    **options: Unpack[CommandOptions],
) -> int:
    """Print the configuration in effect as TOML, each value with its source, and warnings.

    Nothing is served. The arguments are those of aserve; exit code 2 for an error in any of them.
    """
    if not sys.stdout:
        raise SettingsError("check", "writes to standard output, which is closed")
    if request_header and explain is None:
        raise SettingsError("--request-header", "has no effect without --explain")
    configuration = read_configuration(paths or (), options)
    if explain is not None:
        return _explain(configuration, explain, request_header or [])
    dims = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    for line in format_configuration(configuration).splitlines():
        print(dimmed(line) if dims else line)
    for setting, reason in find_warnings(configuration):
        print_message(f"warning: {label_of(setting, configuration.sources)}: {reason}")
    return OK


def dimmed(line: str) -> str:
    """Return a line as a terminal shows it: what was set stands out among the defaults."""
    return f"\x1b[2m{line}\x1b[0m" if line.endswith(f"# {DEFAULT_PLACE}") else line


def _explain(configuration: Configuration, url: str, given: list[str]) -> int:
    settings = configuration.settings
    scheme, host, target = _parse_url(url, settings.scheme)
    headers = {"Host": host, **BROWSER_HEADERS}
    for line in given:
        name, value = _parse_header(line)
        same = next((one for one in headers if one.lower() == name.lower()), name)
        headers[same] = value
    with named_by(configuration.sources):
        decision = decide(settings, target, headers, scheme)
    for line in _lines(decision, headers["Host"]):
        print(line)
    return OK


def _parse_url(url: str, usual: str) -> tuple[str, str, str]:
    """Return the scheme, host and target of a URL, or of a path alone, as a browser sends them.

    usual: the scheme of the server's own URLs: without TLS it has none of https.
    """
    url = url.partition("#")[0]
    if url.startswith("/"):
        return usual, "localhost", url
    try:
        parts = urlsplit(url)
        host, colon, port = parts.netloc.rpartition("@")[2].partition(":")
        host = browser_host(host) + colon + port
    except ValueError as error:
        raise SettingsError("--explain", f"{url!r} is not a URL: {error}") from error
    if parts.scheme not in {"http", usual} or not host:
        raise SettingsError("--explain", f"must be a path or an http URL, not {url!r}")
    query = f"?{parts.query}" if parts.query else ""
    return parts.scheme, host, (parts.path or "/") + query


def _parse_header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not (colon and name.strip() and line.isprintable()):
        raise SettingsError("--request-header", f"must be 'NAME: VALUE', not {line!r}")
    return name.strip(), value.strip()


def _lines(decision: Decision, host: str) -> Iterator[str]:
    """Yield what decided, and then what is sent."""
    request, response, notes = decision
    yield f"{request.method} {request.target} of {host}"
    yield from note_lines(notes)
    yield f"{response.status} {REASON_PHRASES[response.status]}"
    for name, value in response.headers:
        yield f"  {name}: {value}"
    if response.length is not None:
        yield f"  Content-Length: {response.length}"
