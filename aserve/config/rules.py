"""The settings of rules: the files _headers and _redirects, and lines like theirs."""

from typing import TYPE_CHECKING

from aserve.config.checks import Errors, choice_errors, value_name
from aserve.filesystem.rule_files import format_problems
from aserve.rules.dialects import DIALECTS
from aserve.rules.site_rules import LineError

if TYPE_CHECKING:
    from aserve.config.settings import Settings

RULES = ("auto", "off")


def rule_errors(settings: "Settings") -> Errors:
    """Yield what is wrong with rules; with those of the files only if they are strict."""
    yield from choice_errors("rules", settings.rules, RULES)
    yield from choice_errors("rules_dialect", settings.rules_dialect, DIALECTS)
    try:
        _ = settings.own_redirects
    except LineError as error:
        line = settings.redirects[error.number]
        yield value_name(settings, "redirects", error.number), f"{error}: {line!r}"
    if settings.strict_rules and (problems := settings.read_rules().problems):
        yield "strict_rules", "; ".join(format_problems(problems))
