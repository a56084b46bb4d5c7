"""What a shell offers as values of arguments and options. Without an offer it completes files."""

import re
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any

from abench.cli.commands import COMMANDS
from abench.plan.schedule import ARRIVALS

VARIABLE = "_ABENCH_COMPLETE"
"""The environment variable by which a shell asks for completions instead of a run."""

Offers = list[tuple[str, str]]
"""Values, each with an explanation, which zsh and fish show."""


def _offer(values: dict[str, str]) -> Callable[[], Offers]:
    """Return a completion of fixed values; typer takes those that begin as the word does."""
    return lambda: list(values.items())


arrivals = _offer(dict.fromkeys(ARRIVALS, ""))
methods = _offer(dict.fromkeys(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"), ""))
warmups = _offer({"auto": "until the server is steady", "5s": "", "30s": ""})
workers = _offer({"auto": "one per core", "1": "", "2": "", "4": "", "8": ""})
expectations = _offer({"200": "", "2xx": "", "200,304": "", "body:": "the body has this text"})
think_times = _offer({"2s": "", "1s-3s": "drawn evenly"})
stages = _offer({"10s@100,30s@1000": "two rates", "ramp:30s@100-5000": "a rising rate"})
conditions = _offer(
    {
        "p99>50ms": "a latency",
        "errors>0.1%": "a share of the requests",
        "pages<1000/s": "successes per second",
    }
)
annotations = _offer({"auto": "where GitHub runs the workflow", "github": "always", "off": "never"})
headers = _offer(
    {
        "Accept-Encoding: gzip": "",
        "Authorization: Bearer ": "",
        "Cache-Control: no-cache": "",
        "User-Agent:": "do not send the default one",
    }
)


def first_word(ctx: Any) -> Offers:
    """Offer the commands, which may stand in place of the first URL."""
    return [] if ctx.params.get("url") else [(name, one.summary) for name, one in COMMANDS.items()]


def drop_command(environment: MutableMapping[str, str], names: Iterable[str]) -> str:
    """Remove the command from the line that is to be completed; return it, "" for none."""
    variable = "COMP_WORDS" if "COMP_WORDS" in environment else "_TYPER_COMPLETE_ARGS"
    program, *words = re.split(r"\s+", environment.get(variable, ""), maxsplit=2)
    position = environment.get("COMP_CWORD", "2")  # bash's index of the word to complete
    if len(words) < 2 or words[0] not in names or position == "1":
        return ""
    environment[variable] = f"{program}\n{words[1]}"
    environment["COMP_CWORD"] = str(int(position) - 1)
    return words[0]
