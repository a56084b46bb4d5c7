"""What a shell offers as values of arguments and options. Without an offer it completes files."""

import os
import re
from collections.abc import Callable, Collection, MutableMapping
from glob import escape, glob
from pathlib import Path

import typer

from aserve.cli.commands import COMMANDS
from aserve.config.limit_values import default_changes
from aserve.handlers.clean_urls import CONVENTIONS
from aserve.rules.dialects import DIALECTS
from aserve.transport.registry import DISPATCHES, MODELS

Offers = list[tuple[str, str]]
"""Values, each with an explanation, which zsh and fish show."""


def _offer(values: dict[str, str]) -> Callable[[], Offers]:
    """Return a completion of fixed values; typer takes those that begin as the word does."""
    return lambda: list(values.items())


hosts = _offer(
    {
        "localhost": "this machine only",
        "0.0.0.0": "all IPv4 addresses",  # noqa: S104
        "*": "all addresses",
        "unix:/run/aserve.sock": "a Unix socket",
    }
)
allowed_hosts = _offer({"local": "this machine's names", "any": "every name", "dev.test": "a name"})
linked_roots = _offer({"follow": "with each request, the default", "reload": "with a reload"})
charsets = _offer({"utf-8": "the default", "iso-8859-1": "", "none": "no charset"})
error_pages = _offer(
    {"404=404.html": "", "5xx=50x.html": "", "off": "no 404.html, the built-in pages only"}
)
url_conventions = _offer(
    {"plain": "the default", **{name: one.summary for name, one in CONVENTIONS.items()}}
)
types = _offer({"md=text/markdown": "", "log=text/plain": "", "wasm=application/wasm": ""})
archives = _offer({"off": "no archives", "zip": "", "zip,tar": "", "zip,tar,tar.gz": ""})
cache_sizes = _offer({"off": "none", "16M": "", "32M": "", "64M": "", "256M": "", "1G": ""})
compressions = _offer(
    {
        "auto": "by a sibling, or while it is served",
        "siblings": "by files such as app.js.br alone",
        "off": "nothing",
    }
)
redirects = _offer({"/old /new": "301", "/docs/* /manual/:splat 302": "", "/app/* /app/ 200": ""})
rules = _offer({"auto": "if they are there", "off": "neither followed nor sent"})
rules_dialects = _offer({name: dialect.summary for name, dialect in DIALECTS.items()})
listings = _offer(
    {"auto": "folders without an index", "on": "others too, by ?format=", "off": "none"}
)
headers = _offer({"/* X-Frame-Options: DENY": "", "*.pdf X-Robots-Tag: noindex": ""})
caching = _offer(
    {
        "auto": "a year for names with a hash, others are validated",
        "no-cache": "all are validated",
        "no-store": "nothing is stored",
        "3600": "an hour",
    }
)
origins = _offer({"*": "pages of all sites", "http://localhost:*": "", "https://*.app.test": ""})
entity_tags = _offer(
    {"stat": "of size and times", "content": "of a hash, as on other machines", "off": "none"}
)
hides = _offer({"*.bak": "a name, anywhere", "private": "", "/drafts/*": "a path from the root"})
symlinks = _offer(
    {"inside": "those that stay inside", "all": "to anywhere", "none": "no link is followed"}
)
groups = _offer(
    {"users": "everyone with a login", "anyone": "everyone", "nobody": "no one", "ann,ben": ""}
)
networks = _offer(
    {"127.0.0.0/8": "this machine", "192.168.0.0/16": "a home", "10.0.0.0/8": "", "fd00::/8": ""}
)
proxies = _offer(
    {"127.0.0.1": "this machine", "10.0.0.0/8": "", "172.16.0.0/12": "Docker", "unix": "a socket"}
)
rates = _offer(
    {"100/s": "and as many at once", "100/s:500": "500 at once", "600/m": "", "off": "any number"}
)
bandwidths = _offer({"1M": "a second, for each connection", "5M": "", "off": "no limit"})
shares = _offer({"on": "those of this user", "off": "no links"})
lifetimes = _offer({"1h": "an hour", "1d": "a day", "7d": "the default", "never": "no end"})
write_areas = _offer(
    {"/": "everywhere", "add": "new names only", "/in": "only below", "add:/in": "both"}
)
conflicts = _offer(
    {"error": "refuse it, the default", "replace": "the old file goes", "rename": "another name"}
)
stops = _offer({"2h": "two hours", "1-download": "", "3-downloads": "", "1d,5-downloads": ""})
times = _offer({"90s": "", "15m": "", "2h": "", "1d": ""})
workers = _offer({"auto": "one per CPU", "1": "the default", "2": "", "4": "", "8": ""})
dispatches = _offer(dict.fromkeys(DISPATCHES, ""))
access_logs = _offer({"off": "no log, not even on a terminal", "-": "standard output"})
limits = _offer(dict.fromkeys(default_changes(), "the default"))


def models() -> Offers:
    """Offer the models that this system can run."""
    return [(name, info.summary) for name, info in MODELS.items() if not info.unavailable_reason()]


def paths(incomplete: str) -> Offers:
    """Offer the paths behind NAME=, and commands where a word can mean nothing else.

    The shell itself completes a path alone.
    """
    name, equals, path = incomplete.partition("=")
    typed = escape(path if equals else incomplete)
    matching = sorted(glob(f"{typed}*"))  # noqa: PTH207 - as it was typed, with its ./
    if equals:
        return [(f"{name}={one}{'/' * Path(one).is_dir()}", "") for one in matching]
    is_path = not incomplete or matching
    return [] if is_path else list(COMMANDS.items())


def targets(ctx: typer.Context) -> Offers:
    """Offer the files at the top of the directory as paths to request."""
    try:
        names = sorted(os.listdir(ctx.params["directory"]))  # noqa: PTH208
    except OSError:
        return []
    return [("/", "the home page"), *((f"/{name}", "") for name in names if name[0] != ".")]


def drop_command(environment: MutableMapping[str, str], names: Collection[str]) -> str:
    """Remove a command from the line that is to be completed; return its name, "" for none."""
    variable = "COMP_WORDS" if "COMP_WORDS" in environment else "_TYPER_COMPLETE_ARGS"
    program, *words = re.split(r"\s+", environment.get(variable, ""), maxsplit=2)
    position = environment.get("COMP_CWORD", "2")  # bash's index of the word to complete
    if not words or words[0] not in names or len(words) == 1 or position == "1":
        return ""
    environment[variable] = f"{program}\n{words[1]}"
    environment["COMP_CWORD"] = str(int(position) - 1)
    return words[0]
