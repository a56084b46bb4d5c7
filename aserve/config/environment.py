"""The environment variables ASERVE_*: one for each option."""

import re
from collections.abc import Mapping

from aserve.arguments import closest_name
from aserve.config.given import Given, parsed
from aserve.config.kinds import KINDS
from aserve.config.names import VARIABLE_PREFIX, variable_of, variable_source
from aserve.config.settings import SettingsError

CONFIG_VARIABLE = "ASERVE_CONFIG"
"""Names the file, as --config does."""

# Kubernetes and Docker links tell each container of a service "aserve" by such variables, and of
# "aserve-docs" by ASERVE_DOCS_...: nobody gave them to us.
_SERVICE_LINK = re.compile(r"ASERVE_(?:\w+_)?(?:SERVICE_(?:HOST|PORT(?:_\w+)?)|PORT_\d+_\w+|NAME)")
_LINK_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://")


def given_variables(environment: Mapping[str, str]) -> Given:
    """Return what variables give; raises SettingsError, also for an unknown ASERVE_ variable.

    An empty one is as if it were not there, as programs that pass on variables have them.
    """
    names = {variable_of(name): name for name in KINDS}
    values, sources = {}, {}
    for variable in sorted(environment):
        text = environment[variable]
        if not text or not variable.startswith(VARIABLE_PREFIX) or _is_ours_not(variable, text):
            continue
        name = names.get(variable)
        if not name:
            raise SettingsError(variable, _unknown(variable, list(names)))
        sources[name] = variable_source(name)
        values[name] = parsed(sources[name], KINDS[name].from_text, text)
    return Given(values, sources)


def _is_ours_not(variable: str, text: str) -> bool:
    return (
        variable == CONFIG_VARIABLE
        or _SERVICE_LINK.fullmatch(variable) is not None
        or (variable.endswith("_PORT") and _LINK_ADDRESS.match(text) is not None)
    )


def _unknown(variable: str, known: list[str]) -> str:
    match = closest_name(variable.replace("_NO_", "_"), [*known, CONFIG_VARIABLE])
    return "there is no such variable" + (f"; did you mean {match}?" if match else "")
