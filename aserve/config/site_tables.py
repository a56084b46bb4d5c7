"""The tables of sites and of paths in aserve.toml: [[site]], [[site.path]] and [[path]]."""

from collections.abc import Sequence
from typing import Any

from aserve.config.config_file import Table
from aserve.config.given import Given, given_table
from aserve.config.kinds import KINDS, PROGRAM_KINDS, SETTING_KINDS
from aserve.config.names import Source, key_of
from aserve.config.virtual_hosts import OF_THE_PROCESS, OF_THE_SERVER, PathSettings, VirtualHost

TABLES = ("path", "site")
"""Keys of a file that are read here."""


_OF_A_SERVER = {key_of(name) for name in (*OF_THE_PROCESS, *PROGRAM_KINDS) if name in KINDS}
"""Keys that no table here may have."""


def given_sites(file: Table) -> Given:
    """Return the sites of a file, and its own paths; raises SettingsError."""
    sites = tuple(map(_site, file.tables("site")))
    values: dict[str, Any] = {"sites": sites} if sites else {}
    sources = {"sites": file.source("site")} if sites else {}
    return Given(values, sources).over(_given_paths(file))


def _site(table: Table) -> VirtualHost:
    _check_place(table)
    given = given_table(table, SETTING_KINDS.keys(), own_keys={"hosts", "path"})
    given = given.over(_given_paths(table))
    values = dict(given.values)
    if "root" not in values:
        raise table.error(reason="has no root, the folder of the site")
    site = VirtualHost(_hosts(table), values.pop("root"), **values)
    site.sources = _own_sources(table, given, "hosts")
    return site


def _check_place(table: Table) -> None:
    """Raise SettingsError for a key of the whole server, whatever its value is."""
    for key in table.values:
        if key in _OF_A_SERVER:
            hint = "; did you mean hosts?" if key == "host" else ""
            raise table.error(key, reason=f"{OF_THE_SERVER}{hint}")


def _hosts(table: Table) -> Sequence[str]:
    hosts = table.values.get("hosts")
    if hosts is None:
        raise table.error(reason="has no hosts, the names of the site")
    texts = [hosts] if isinstance(hosts, str) else hosts
    if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
        raise table.error("hosts", reason="must be a string or a list of strings")
    return texts


def _given_paths(table: Table) -> Given:
    paths = tuple(map(_path, table.tables("path")))
    if not paths:
        return Given({}, {})
    return Given({"paths": paths}, {"paths": table.source("path")})


def _path(table: Table) -> PathSettings:
    _check_place(table)
    given = given_table(table, SETTING_KINDS.keys(), own_keys={"match"})
    match = table.values.get("match")
    if not isinstance(match, str):
        is_missing = match is None
        reason = "has no match, such as '/assets/*'" if is_missing else "must be a string"
        raise table.error(*(() if is_missing else ("match",)), reason=reason)
    paths = PathSettings(match, **given.values)
    paths.sources = _own_sources(table, given, "match")
    return paths


def _own_sources(table: Table, given: Given, key: str) -> dict[str, Source]:
    return {**given.sources, key: table.source(key)}
