"""Usage errors in the program's own words: which option, what is wrong, and the way out."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from abench.cli import hints
from abench.errors import ParameterError

_TOO_MANY = re.compile(r"Got unexpected extra argument(?:\(s\)|s)? \((.*)\)", re.DOTALL)
_SINGLE_DASH = re.compile(r"-[a-z][a-z-]+")
_SIMILARITY = 0.7  # of a misspelled option


def check_dashes(arguments: Iterable[str], parser: Any) -> None:
    """Refuse `-time`, which would mean `-t ime`; raises ParameterError."""
    for word in arguments:
        if _SINGLE_DASH.fullmatch(word) and f"-{word}" in _spellings(parser):
            raise ParameterError(word, f"it has two dashes: -{word}")


def usage_error(error: Any, parser: Any, name: str) -> ParameterError:
    """Return an error of typer's parser of the command `name` in our words."""
    option, message = getattr(error, "option_name", ""), error.format_message()
    if hasattr(error, "possibilities"):
        return ParameterError(option, f"there is no such option; {_way_out(option, parser, name)}")
    if option and "requires" in message:
        return ParameterError(option, f"needs a value: {option} {_metavar(option, parser)}")
    if option:
        return ParameterError(option, "takes no value")
    if extra := _TOO_MANY.fullmatch(message):
        return ParameterError(extra[1], f"more arguments than {name} takes; see {name} --help")
    if getattr(error, "param", None) is not None and not error.message:
        return ParameterError(error.param.metavar, f"is missing; see {name} --help")
    return ParameterError(name, message)


def _way_out(option: str, parser: Any, name: str) -> str:
    if hint := hints.hint(option):
        return hint
    spellings = _spellings(parser)
    similar = [one for one in spellings if one.startswith(option) and len(option) > 2]
    similar = similar or get_close_matches(option, spellings, 1, _SIMILARITY)
    return f"did you mean {similar[0]}?" if similar else f"see {name} --help"


def _spellings(parser: Any) -> list[str]:
    return [name for one in parser.params for name in one.opts] + ["--help"]


def _metavar(option: str, parser: Any) -> str:
    return next(str(one.metavar) for one in parser.params if option in one.opts)
