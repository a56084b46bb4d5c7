"""The configuration of the program: what the command line, the environment and a file say together.

The command line goes before the environment, the environment before the file, and the file before
the defaults.
"""

import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

from aserve.config.config_file import Table, read_config_file, read_file_here
from aserve.config.environment import CONFIG_VARIABLE, given_variables
from aserve.config.given import Given, given_options, given_table
from aserve.config.kinds import KINDS, PROGRAM_KINDS
from aserve.config.names import NamedSettingError, Sources, option_of
from aserve.config.processes import ALL_ADDRESSES, DEFAULT_HOST
from aserve.config.settings import Settings, SettingsError
from aserve.config.site_tables import TABLES, given_sites
from aserve.config.stop_limits import StopAfter
from aserve.config.virtual_hosts import usual_allowed_hosts
from aserve.http1.limits import Limits
from aserve.transport.registry import DEFAULT, MODELS, default_workers

NO_FILE = "off"
"""The value of --config for no file, not even the one in the working directory."""


class Configuration(NamedTuple):
    """All that was given, and the defaults of the rest.

    file: what aserve.toml says, None if there is none. sources: of all values, also of those that
    are no Settings, which follow here: what the program itself does. idle_exit: seconds without a
    request after which it ends, 0 for never.
    """

    settings: Settings
    sources: Sources
    file: Table | None = None
    access_log: str | None = None
    lan: bool = False
    open: bool = False
    port_file: str | None = None
    stop_after: StopAfter = StopAfter()
    idle_exit: int = 0
    quiet: bool = False
    watch_config: bool = False


def read_configuration(
    paths: Sequence[str],
    options: Mapping[str, Any],
    environment: Mapping[str, str] = os.environ,
) -> Configuration:
    """Return the configuration as it is now; raises SettingsError, which names the source.

    paths: arguments of the command line. options: its options by the names of settings, as in
    SettingOptions; config: the file, or "off". Reads the file and the environment each time.
    """
    options = dict(options)
    file = _find_file(options.pop("config", None), environment)
    from_line = given_options({"root": paths, **options} if paths else options)
    each = [from_line, given_variables(environment)]
    if file:
        each += [given_table(file, own_keys=TABLES), given_sites(file)]
    for given in each:
        _check_address(given)
    return _compose(reduce(Given.over, each), file)


def _check_address(given: Given) -> None:
    """Reject two addresses from one source; of several sources, the first one has the address."""
    if given.values.get("lan") and "host" in given.values:
        reason = "listens on all addresses: leave it out, or leave out host"
        raise SettingsError(given.sources["lan"].label, reason)


def _find_file(option: str | None, environment: Mapping[str, str]) -> Table | None:
    """Return the file that is named, or the one in the working directory if it is there."""
    name = environment.get(CONFIG_VARIABLE) if option is None else option
    if name == NO_FILE:
        return None
    if option == "":
        raise SettingsError("--config", "must not be empty; 'off' is no file")
    if name:
        return read_config_file(Path(name), CONFIG_VARIABLE if option is None else "--config")
    return read_file_here()


def _compose(given: Given, file: Table | None) -> Configuration:
    values, sources = dict(given.values), dict(given.sources)
    if values.get("lan"):
        values["host"], sources["host"] = ALL_ADDRESSES, sources["lan"]
    program = {name: values.pop(name) for name in PROGRAM_KINDS if name in values}
    values.setdefault("root", {} if "sites" in values else Path())
    if "sites" not in values:
        values.setdefault("allowed_hosts", _usual_allowed_hosts(values.get("host", DEFAULT_HOST)))
    values.setdefault("workers", default_workers(values.get("model", DEFAULT)))
    values["limits"] = Limits(**values.get("limits", {}))
    with named_by(sources):
        settings = Settings(**values, sources=sources)
        _check_model_options(settings, given.values.keys() - PROGRAM_KINDS.keys())
    return Configuration(settings, sources, file, **program)


def _usual_allowed_hosts(host: str) -> tuple[str, ...]:
    # The URL is printed to one of them, each request to the other.
    has_terminal = any(stream and stream.isatty() for stream in (sys.stderr, sys.stdout))
    return usual_allowed_hosts(host, has_terminal=has_terminal)


def label_of(setting: str, sources: Sources) -> str:
    """Return what a message about a setting begins with: where it was set, or else its option.

    Other names are already spelled so.
    """
    if source := sources.get(setting):
        return source.label
    return option_of(setting) if setting in KINDS else setting


@contextmanager
def named_by(sources: Sources) -> Iterator[None]:
    """Let an error that names a setting name the option, variable or line where it was set."""
    try:
        yield
    except NamedSettingError as error:
        raise type(error)(label_of(error.setting, sources), error.reason) from error


def _check_model_options(settings: Settings, given: Collection[str]) -> None:
    """Reject an option that the model does not use, and name the models that do."""
    model = settings.described_model
    restricted = set().union(*(info.options for info in MODELS.values()))
    for name in sorted(given):
        option = option_of(name)
        if option in restricted - settings.model_info.options:
            models = ", ".join(name for name, info in MODELS.items() if option in info.options)
            raise SettingsError(name, f"{model} does not use it; it is for {models}")
