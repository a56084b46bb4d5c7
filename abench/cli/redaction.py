"""A command line as it may be published: the values of its options without what is secret.

Nobody can tell by its look whether a header, a cookie or a body is a secret, so that all are
hidden but those known to be harmless.
"""

import argparse
import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from abench.plan.target import HIDDEN, without_userinfo

Options = Mapping[str, str | None]
"""Each spelling of an option; its long name if it takes a value, None of a flag."""

# What a client may say of itself and of what it wants, none of which lets anybody in.
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
_SWITCH_LENGTH = 2
_SECRET_NAME = re.compile(
    "auth|cookie|cred|csrf|jwt|key|nonce|otp|pass|pin|pw|secret|sess|sig|token|xsrf", re.IGNORECASE
)
_URL_WITHIN = re.compile(r"^=?[A-Za-z][A-Za-z0-9+.-]*:/")


def click_options(command: object) -> dict[str, str | None]:
    """Return the options of a command that typer has made."""
    found: dict[str, str | None] = {"-h": None, "--help": None}
    for parameter in getattr(command, "params", ()):
        if parameter.param_type_name == "option":
            name = None if parameter.is_flag or parameter.count else _long_name(parameter.opts)
            found |= dict.fromkeys((*parameter.opts, *parameter.secondary_opts), name)
    return found


def argparse_options(parser: argparse.ArgumentParser) -> dict[str, str | None]:
    """Return the options of a parser of the standard library's."""
    return {
        spelling: None if action.nargs == 0 else _long_name(action.option_strings)
        for action in parser._actions  # noqa: SLF001 - there is no other way to ask it
        for spelling in action.option_strings
    }


def _long_name(spellings: Iterable[str]) -> str:
    return max(spellings, key=lambda one: one.startswith("--"))


def redact(arguments: Iterable[str], options: Options) -> Iterator[str]:
    """Yield the words of a command line, read as its parser does, without secrets."""
    words = iter(arguments)
    for word in words:
        if word == "--":  # what follows is no option
            yield word
            yield from map(without_userinfo, words)
        elif word.startswith("-") and word != "-":
            yield from _option(word, words, options)
        else:
            yield without_userinfo(word)


def _option(word: str, words: Iterator[str], options: Options) -> Iterator[str]:
    """Yield an option and its value, which is in the same word or in the next."""
    said, name, value = _long_option(word, options) if word[1] == "-" else _cluster(word, options)
    if name is None:
        yield said
    elif value is None:
        yield said
        yield from (_redact_value(name, following) for following in _one(words))
    else:
        yield said + _redact_value(name, value)


def _one(words: Iterator[str]) -> Iterator[str]:
    following = next(words, None)
    if following is not None:
        yield following


def _long_option(word: str, options: Options) -> tuple[str, str | None, str | None]:
    """Return an option as it was typed, its name if it takes a value, and the value behind =."""
    said, equals, value = word.partition("=")
    name = options[said] if said in options else _abbreviated(said, options)
    return said + equals, name, value if equals else None


def _abbreviated(said: str, options: Options) -> str | None:
    """Return what an option is short for, as the standard library takes it."""
    return next((name for option, name in options.items() if option.startswith(said)), None)


def _cluster(word: str, options: Options) -> tuple[str, str | None, str | None]:
    """Return the flags up to the option that takes the rest, or the next word, as its value."""
    for place, letter in enumerate(word[1:], 2):
        name = options.get(f"-{letter}")
        if name is not None:
            return word[:place], name, word[place:] or None
    return word, None, None


def _redact_value(name: str, value: str) -> str:
    if name in _SHOWN_AS:
        return _SHOWN_AS[name](value)
    return without_userinfo(value) if _URL_WITHIN.match(value) else value


def _nothing(_value: str) -> str:
    return HIDDEN


def _header(text: str) -> str:
    name, colon, value = text.partition(":")
    if not colon:
        return HIDDEN
    return text if _is_harmless(name.strip(), value.strip()) else f"{name}: {HIDDEN}"


def _is_harmless(name: str, value: str) -> bool:
    """Whether a header can be shown: of others, a switch such as `X-Debug: 1` is no secret."""
    if name.lower() in _HARMLESS_HEADERS or not value:
        return True
    return len(value) <= _SWITCH_LENGTH and not _SECRET_NAME.search(name)


def _body(text: str) -> str:
    """Show the name of a file, and whether there is anything."""
    return text if text.startswith("@") or not text else HIDDEN


def _form_field(text: str) -> str:
    name, equals, value = text.partition("=")
    return f"{name}={_body(value)}" if equals else HIDDEN


_SHOWN_AS: dict[str, Callable[[str], str]] = {
    "--user": _nothing,
    "--cookie": _nothing,
    "--header": _header,
    "--data": _body,
    "--form": _form_field,
    "--proxy": without_userinfo,
    "--dask": without_userinfo,
}
