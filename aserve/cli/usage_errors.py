"""Usage errors in the program's own words: which option, what is wrong, and the way out."""

import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

from aserve.cli.commands import COMMANDS

_TOO_MANY = re.compile(r"Got unexpected extra argument(?:\(s\)|s)? \((.*)\)")
_SINGLE_DASH = re.compile(r"-[a-z][a-z-]+")
_SIMILARITY = 0.7  # of a misspelled option: --prot is --port, and --cors is not --host

_OTHER_SERVERS = (
    dict.fromkeys(("--bind", "-b", "--address", "-a", "-H", "--listen", "-l"), "use --host")
    | dict.fromkeys(("--interface", "-i"), "use --host with the address of the interface")
    | dict.fromkeys(
        ("--directory", "-d", "--root", "--dir"), "give the directory alone: aserve DIR"
    )
    | dict.fromkeys(("--silent", "-s", "--no-request-logging"), "use --quiet or --access-log off")
    | dict.fromkeys(("--log", "--log-file", "--logfile"), "use --access-log FILE")
    | dict.fromkeys(("--cache", "-c"), "browsers always ask whether a file has changed")
    | dict.fromkeys(("--tls", "--ssl", "-S"), "use --https, or --cert and --key")
    | dict.fromkeys(("--tls-cert", "--ssl-cert", "--certfile", "--certificate", "-C"), "use --cert")
    | dict.fromkeys(("--tls-key", "--ssl-key", "--ssl-pass", "--keyfile", "-K"), "use --key")
    | dict.fromkeys(("--gzip", "-g", "--brotli", "--compress"), "FILE.gz and FILE.br are sent")
)
"""What options of other servers are called here: http.server, http-server, serve, miniserve, dufs,
caddy file-server and static-web-server."""


class UsageError(Exception):
    """A command line that cannot be understood. The message is one line for the user."""


def check_dashes(arguments: Iterable[str], parser: Any) -> None:
    """Reject `-port`, which would mean `-p ort`; raises UsageError."""
    for word in arguments:
        if _SINGLE_DASH.fullmatch(word) and f"-{word}" in _spellings(parser):
            raise UsageError(f"{word}: it has two dashes: -{word}")


def check_command(word: str, commands: Iterable[str]) -> None:
    """Reject a command that is misspelled, and neither an option nor a path; raises UsageError."""
    if word.startswith("-") or os.sep in word or os.path.lexists(word):
        return
    if similar := _similar(word, commands):
        reason = "there is no such command, directory or file"
        raise UsageError(f"{word}: {reason}; did you mean aserve {similar[0]}?")


def describe_usage_error(error: Any, parser: Any, name: str) -> str:
    """Return one line for an error of typer's parser of the command `name`."""
    option, message = getattr(error, "option_name", ""), error.format_message()
    if hasattr(error, "possibilities"):
        return f"{option}: there is no such option; {_way_out(option, parser, name)}"
    if option and "requires" in message:
        return f"{option}: needs a value: {option} {_metavar(option, parser)}"
    if option:
        return f"{option}: takes no value"
    if extra := _TOO_MANY.fullmatch(message):
        return f"{extra[1]}: more arguments than {name} takes; see {name} --help"
    if getattr(error, "param", None) is not None and not error.message:
        return f"{error.param.metavar}: is missing; see {name} --help"
    return str(message)


def _way_out(option: str, parser: Any, name: str) -> str:
    if hint := _OTHER_SERVERS.get(option):
        return hint
    if option.removeprefix("--") in COMMANDS:
        return f"did you mean aserve {option.removeprefix('--')}?"
    spellings = _spellings(parser)
    similar = [one for one in spellings if one.startswith(option) and len(option) > 2]
    similar = similar or _similar(option, spellings)
    return f"did you mean {similar[0]}?" if similar else f"see {name} --help"


def _similar(word: str, words: Iterable[str]) -> list[str]:
    """Return the word that this one is a misspelling of, if there is one."""
    from difflib import get_close_matches

    return get_close_matches(word, words, 1, _SIMILARITY)


def _spellings(parser: Any) -> Sequence[str]:
    """Return all ways to write an option, the opposites of flags last."""
    others = [name for one in parser.params for name in one.secondary_opts]
    return [name for one in parser.params for name in one.opts] + ["--help", *others]


def _metavar(option: str, parser: Any) -> str:
    return next(str(one.metavar) for one in parser.params if option in one.opts)
