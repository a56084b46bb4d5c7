"""Removes secrets from a command line before it is published in a report.

Whether a header, a cookie or a body is a secret cannot be told from its value, so all of them are
hidden except those known to be harmless.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from abench.plan.target import HIDDEN, without_userinfo

if TYPE_CHECKING:
    import argparse

Options = Mapping[str, str | None]
"""Maps each spelling of an option to its long name if it takes a value, None for a flag."""

# Headers that describe the client and its request; none of them grants access.
_HARMLESS_HEADERS = frozenset(
    (
        *("accept", "accept-charset", "accept-encoding", "accept-language", "cache-control"),
        *("connection", "content-encoding", "content-language", "content-type", "date", "dnt"),
        *("expect", "host", "if-match", "if-modified-since", "if-none-match", "if-range"),
        *("if-unmodified-since", "keep-alive", "max-forwards", "origin", "pragma", "prefer"),
        *("priority", "range", "save-data", "te", "trailer", "upgrade", "user-agent"),
        *("upgrade-insecure-requests", "x-requested-with"),
    )
)
_MAX_SWITCH_LENGTH = 2
_SECRET_NAME = re.compile(
    "auth|cookie|cred|csrf|jwt|key|nonce|otp|pass|pin|pw|secret|sess|sig|token|xsrf", re.IGNORECASE
)
_URL_VALUE = re.compile(r"^=?[A-Za-z][A-Za-z0-9+.-]*:/")


def click_options(command: object) -> dict[str, str | None]:
    """Return the options of a command of typer."""
    found: dict[str, str | None] = {"-h": None, "--help": None}
    for parameter in getattr(command, "params", ()):
        if parameter.param_type_name == "option":
            name = None if parameter.is_flag or parameter.count else _long_name(parameter.opts)
            found |= dict.fromkeys((*parameter.opts, *parameter.secondary_opts), name)
    return found


def argparse_options(parser: "argparse.ArgumentParser") -> dict[str, str | None]:
    """Return the options of a parser of argparse."""
    return {
        spelling: None if action.nargs == 0 else _long_name(action.option_strings)
        for action in parser._actions  # noqa: SLF001 - there is no public way
        for spelling in action.option_strings
    }


def _long_name(spellings: Iterable[str]) -> str:
    return max(spellings, key=lambda one: one.startswith("--"))


def redact(arguments: Iterable[str], options: Options) -> Iterator[str]:
    """Yield the words of a command line without secrets, parsed as its parser does."""
    words = iter(arguments)
    for word in words:
        if word == "--":  # no options follow
            yield word
            yield from map(without_userinfo, words)
        elif word.startswith("-") and word != "-":
            yield from _option(word, words, options)
        else:
            yield without_userinfo(word)


def _option(word: str, words: Iterator[str], options: Options) -> Iterator[str]:
    """Yield an option and its value, which is in the same word or in the next."""
    spelling, name, value = (
        _long_option(word, options) if word[1] == "-" else _cluster(word, options)
    )
    if name is None:
        yield spelling
    elif value is None:
        yield spelling
        yield from (_redact_value(name, following) for following in _next_word(words))
    else:
        yield spelling + _redact_value(name, value)


def _next_word(words: Iterator[str]) -> Iterator[str]:
    following = next(words, None)
    if following is not None:
        yield following


def _long_option(word: str, options: Options) -> tuple[str, str | None, str | None]:
    """Return an option as typed, its name if it takes a value, and the value after `=`."""
    spelling, equals, value = word.partition("=")
    name = options[spelling] if spelling in options else _abbreviated(spelling, options)
    return spelling + equals, name, value if equals else None


def _abbreviated(spelling: str, options: Options) -> str | None:
    """Return the name of an abbreviated option, as argparse resolves it."""
    return next((name for option, name in options.items() if option.startswith(spelling)), None)


def _cluster(word: str, options: Options) -> tuple[str, str | None, str | None]:
    """Return the flags up to the option that takes the rest or the next word as its value."""
    for end, letter in enumerate(word[1:], 2):
        name = options.get(f"-{letter}")
        if name is not None:
            return word[:end], name, word[end:] or None
    return word, None, None


def _redact_value(name: str, value: str) -> str:
    if name in _SHOWN_AS:
        return _SHOWN_AS[name](value)
    return without_userinfo(value) if _URL_VALUE.match(value) else value


def _hidden(_value: str) -> str:
    return HIDDEN


def _header(text: str) -> str:
    name, colon, value = text.partition(":")
    if not colon:
        return HIDDEN
    return text if _is_harmless(name.strip(), value.strip()) else f"{name}: {HIDDEN}"


def _is_harmless(name: str, value: str) -> bool:
    """Whether a header can be shown: a harmless one, or a short switch such as `X-Debug: 1`."""
    if name.lower() in _HARMLESS_HEADERS or not value:
        return True
    return len(value) <= _MAX_SWITCH_LENGTH and not _SECRET_NAME.search(name)


def _body(text: str) -> str:
    """Show the name of a file or an empty body, and hide any other body."""
    return text if text.startswith("@") or not text else HIDDEN


def _form_field(text: str) -> str:
    name, equals, value = text.partition("=")
    return f"{name}={_body(value)}" if equals else HIDDEN


_SHOWN_AS: dict[str, Callable[[str], str]] = {
    "--user": _hidden,
    "--cookie": _hidden,
    "--header": _header,
    "--data": _body,
    "--form": _form_field,
    "--proxy": without_userinfo,
    "--dask": without_userinfo,
}
