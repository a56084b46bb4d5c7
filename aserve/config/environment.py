"""The environment variables ASERVE_*: one for each option."""

import re
from collections.abc import Iterable, Mapping
from operator import attrgetter

from aserve.arguments import closest_name
from aserve.config.given import Given, given_each
from aserve.config.kinds import KINDS
from aserve.config.names import VARIABLE_PREFIX, variable_of, variable_source
from aserve.config.settings import SettingsError

CONFIG_VARIABLE = "ASERVE_CONFIG"
"""Names the file, as --config does."""

# Kubernetes and Docker links tell each container of a service "aserve" by such variables, and of
# "aserve-docs" by ASERVE_DOCS_...: no one gave them to us.
_SERVICE_LINK = re.compile(r"ASERVE_(?:\w+_)?(?:SERVICE_(?:HOST|PORT(?:_\w+)?)|PORT_\d+_\w+|NAME)")
_LINK_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://")


def given_variables(environment: Mapping[str, str]) -> Given:
    """Return what variables give; raises SettingsError, also for an unknown ASERVE_ variable.

    An empty one is as if it were not there, as programs that pass on variables have them.
    """
    names = {variable_of(name): name for name in KINDS}
    given = {}
    for variable in sorted(environment):
        text = environment[variable]
        if text and variable.startswith(VARIABLE_PREFIX) and not _is_of_others(variable, text):
            if variable not in names:
                raise SettingsError(variable, _unknown(variable, names))
            given[names[variable]] = text
    return given_each(given, variable_source, attrgetter("from_text"))


def _is_of_others(variable: str, text: str) -> bool:
    return (
        variable == CONFIG_VARIABLE
        or _SERVICE_LINK.fullmatch(variable) is not None
        or (variable.endswith("_PORT") and _LINK_ADDRESS.match(text) is not None)
    )


def _unknown(variable: str, known: Iterable[str]) -> str:
    name = variable.removeprefix(VARIABLE_PREFIX).upper().removeprefix("NO_")
    names = [one.removeprefix(VARIABLE_PREFIX) for one in (*known, CONFIG_VARIABLE)]
    match = closest_name(name, names)
    hint = f"; did you mean {VARIABLE_PREFIX}{match}?" if match else ""
    return f"there is no such variable{hint}"
