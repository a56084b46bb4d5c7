"""Sites and paths with settings of their own: what they take over, and what is wrong with them."""

import json
import tomllib
import typing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import jsonschema
import pytest

import aserve
from aserve.config.configuration import read_configuration
from aserve.config.effective import format_configuration
from aserve.config.server_settings import ServerSettings
from aserve.config.virtual_hosts import (
    OF_A_ROOT,
    OF_A_SITE,
    OF_THE_PROCESS,
    own_hosts,
    usual_allowed_hosts,
)
from aserve.server.setting_warnings import find_warnings

ROOT = Path(__file__).parents[3]
OF_A_PATH = {
    *("charset", "types", "index", "urls", "spa", "error_page", "server_header"),
    *("headers", "cache", "cors", "isolate", "security_headers", "etag", "compress"),
    *("listing", "page_size", "readme", "title"),
    *("archive", "archive_max_bytes", "archive_max_files", "readers", "writers", "rate"),
}
"""All other settings. A new one belongs here, or in one of the lists in virtual_hosts.py."""


def site(root: Path, hosts: Any = "a.test", **settings: Any) -> aserve.VirtualHost:
    return aserve.VirtualHost(hosts, root, **settings)


def test_each_setting_is_of_the_process_of_a_site_or_of_a_path() -> None:
    names = set(typing.get_type_hints(aserve.Settings))
    assert names == OF_THE_PROCESS | OF_A_SITE | OF_A_PATH
    assert not OF_THE_PROCESS & OF_A_SITE
    assert not (OF_THE_PROCESS | OF_A_SITE) & OF_A_PATH
    assert OF_THE_PROCESS.isdisjoint(OF_A_ROOT)


def test_a_site_takes_over_what_does_not_concern_one_root(directory: Path) -> None:
    paths = (aserve.PathSettings("/p/*", page_size=3),)
    settings = aserve.Settings(
        directory,
        page_size=7,
        title="Mine",
        spa="app.html",
        error_page=("404=a.html",),
        write=("/",),
        quota=5,
        paths=paths,
        sites=(site(directory, ["A.Test", "*.b.test"], listing="off"),),
    )
    (found,) = settings.sites
    assert found.normal_hosts == ("a.test", "*.b.test")
    assert (found.settings.page_size, found.settings.listing) == (7, "off")
    defaults = aserve.Settings(directory)
    for name in OF_A_ROOT:
        assert getattr(found.settings, name) == getattr(defaults, name)
    assert settings.paths[0].settings.page_size == 3
    assert settings.paths[0].settings.title == "Mine"
    assert settings.every_site == (settings, found.settings)


def test_the_root_may_be_none_where_there_are_sites(directory: Path) -> None:
    settings = aserve.Settings({}, sites=(site(directory),))
    assert settings.every_site == (settings.sites[0].settings,)
    with pytest.raises(aserve.SettingsError, match=r"^root: must name at least one directory$"):
        aserve.Settings({})


def test_what_is_made_of_a_site_says_how(directory: Path) -> None:
    one = site(directory, ("a.test",), title="x", paths=(aserve.PathSettings("/p", spa="a"),))
    text = f"aserve.VirtualHost(('a.test',), {directory!r}, title='x', "
    assert repr(one) == f"{text}paths=(aserve.PathSettings('/p', spa='a'),))"
    assert one == site(
        directory, ["a.test"], title="x", paths=(aserve.PathSettings("/p", spa="a"),)
    )
    assert one != site(directory, "a.test")
    assert len({one, one, site(directory, "b.test")}) == 2
    with pytest.raises(RuntimeError, match=r"no aserve\.Settings"):
        one.settings  # noqa: B018 - the property


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"sites": [1]}, "sites: must be a tuple of aserve.VirtualHost(...), not [1]"),
        ({"paths": ("/p",)}, "paths: must be a tuple of aserve.PathSettings(...), not ('/p',)"),
        ({"allowed_hosts": ()}, "allowed_hosts: must not be empty: any is every host"),
        (
            {"allowed_hosts": ("a/b",)},
            "allowed_hosts: must be the name of a host, without a scheme",
        ),
        ({"allowed_hosts": ("any", "a")}, "allowed_hosts: any is every host, so that no other can"),
        ({"linked_root": "x"}, "linked_root: must be one of follow, reload, not 'x'"),
        (
            {"paths": (aserve.PathSettings(cast("str", None)),)},
            "paths: None: match: must be a path s",
        ),
        (
            {"paths": (aserve.PathSettings(cast("str", ["/p"])),)},
            "paths: ['/p']: match: must be a pa",
        ),
        ({"paths": (aserve.PathSettings("p"),)}, "paths: p: match: a path begins with / or *"),
        (
            {"paths": (aserve.PathSettings("/p", hide=("a",)),)},
            "paths: /p: hide: is a setting of the whole site",
        ),
        (
            {"paths": (aserve.PathSettings("/p", port=1),)},
            "paths: /p: port: is a setting of the whole server",
        ),
        (
            {"paths": (aserve.PathSettings("/p", page_size=0),)},
            "paths: /p: page_size: must be from 1 to 2000",
        ),
    ],
)
def test_a_wrong_value_is_one_line(directory: Path, settings: Any, error: str) -> None:
    with pytest.raises(aserve.SettingsError) as caught:
        aserve.Settings(directory, **settings)
    assert str(caught.value).startswith(error)


@pytest.mark.parametrize(
    ("hosts", "settings", "error"),
    [
        ((), {}, "no host: hosts: must name at least one host"),
        (3, {}, "3: hosts: must be the name of a host, not 3"),
        (b"a", {}, "b'a': hosts: must be the name of a host, not b'a'"),
        ("a\n", {}, "'a\\n': hosts: must be the name of a host, not 'a\\n'"),
        ((3,), {}, "3: hosts: must be the name of a host, not 3"),
        ("a.test:80", {}, "a.test:80: hosts: must be the name of a host, without a port"),
        (("b", "B."), {}, "b: hosts: 'B.' is a host of b already"),
        ("used.test", {}, "used.test: hosts: 'used.test' is a host of used.test already"),
        ("a", {"model": "epoll"}, "a: model: is a setting of the whole server"),
        ("a", {"sites": ()}, "a: sites: is a setting of the whole server"),
        ("a", {"page_size": 0}, "a: page_size: must be from 1 to 2000"),
        ("a", {"quota": 5}, "a: quota: has no effect where nothing can be written to"),
        (
            "a",
            {"paths": (aserve.PathSettings("/p", listing="x"),)},
            "a: paths: /p: listing: must be one of auto, on, off, not 'x'",
        ),
    ],
)
def test_a_wrong_site_is_one_line_that_names_it(
    directory: Path, hosts: Any, settings: Any, error: str
) -> None:
    sites = (site(directory, "used.test"), site(directory, hosts, **settings))
    with pytest.raises(aserve.SettingsError) as caught:
        aserve.Settings(directory, sites=sites)
    assert str(caught.value).startswith(f"sites: {error}")


def test_a_site_without_its_folder_is_named(directory: Path) -> None:
    with pytest.raises(aserve.SettingsError, match=r"^sites: a\.test: root: there is no directory"):
        aserve.Settings(directory, sites=(site(directory / "nowhere"),))


def test_an_unknown_setting_of_a_site_names_the_right_one(directory: Path) -> None:
    with pytest.raises(TypeError, match=r"^unknown setting 'pagesize': did you mean 'page_size'"):
        aserve.Settings(directory, sites=(site(directory, pagesize=1),))


def test_only_its_own_hosts_get_to_a_site(directory: Path) -> None:
    hosts = ["b.test", "*.a.test", "any"]
    (one,) = aserve.Settings(directory, sites=(site(directory, hosts),)).sites
    assert one.settings.allowed_hosts == ("local", "*.a.test", "b.test")


@pytest.mark.parametrize(
    ("host", "has_terminal", "allowed"),
    [
        ("localhost", True, "local"),
        ("LocalHost.", True, "local"),
        ("127.0.0.5", True, "local"),
        ("::1", True, "local"),
        ("localhost", False, "any"),
        ("0.0.0.0", True, "any"),
        ("::", True, "any"),
        ("192.0.2.1", True, "any"),
        ("dev.test", True, "any"),
    ],
)
def test_the_hosts_that_are_usually_allowed(host: str, has_terminal: bool, allowed: str) -> None:
    assert usual_allowed_hosts(host, has_terminal=has_terminal) == (allowed,)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, directory: Path) -> Path:
    """Let standard error be a terminal, and the directory hold what is served."""
    monkeypatch.chdir(directory)
    streams = SimpleNamespace(stdout=None, stderr=SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("aserve.config.configuration.sys", streams)
    return directory


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({}, ("local",)),
        ({"host": "0.0.0.0"}, ("any",)),
        ({"allowed_hosts": "any"}, ("any",)),
        ({"allowed_hosts": "local, dev.test"}, ("local", "dev.test")),
    ],
)
def test_a_terminal_decides_unless_it_is_set(terminal: Path, options: Any, allowed: Any) -> None:
    assert read_configuration((), options, {}).settings.allowed_hosts == allowed


SITES = """\
title = "Top"
page-size = 7

[[site]]
hosts = ["a.test", "*.b.test"]
root = "a"
charset = "none"

[[site.path]]
match = "/p/*"
spa = true

[[site]]
hosts = "bücher.test"
root = { "/" = "a", docs = "b" }
"""


@pytest.fixture
def file(terminal: Path) -> Path:
    for name in ("a", "b"):
        (terminal / name).mkdir(exist_ok=True)
    path = terminal / "aserve.toml"
    path.write_text(SITES)
    return path


def test_a_file_has_tables_of_sites_and_of_paths(file: Path) -> None:
    settings = read_configuration((), {}, {}).settings
    first, second = settings.sites
    assert (settings.root, settings.allowed_hosts) == ({}, ("any",))
    assert first.settings.root == file.parent / "a"
    assert (first.settings.charset, first.settings.page_size, first.settings.title) == (
        "none",
        7,
        "",
    )
    assert first.settings.paths[0].match == "/p/*"
    assert first.settings.paths[0].settings.spa == "index.html"
    assert first.settings.place_of("charset") == "aserve.toml:7"
    assert first.settings.place_of("page_size") == "aserve.toml:2"
    assert first.settings.paths[0].settings.place_of("spa") == "aserve.toml:11"
    assert second.normal_hosts == ("xn--bcher-kva.test",)
    assert second.settings.root == {"": file.parent / "a", "docs": file.parent / "b"}


def test_a_root_of_its_own_is_for_all_other_hosts(file: Path) -> None:
    assert read_configuration(["b"], {}, {}).settings.root == file.parent / "b"
    file.write_text(f'root = "b"\nallowed-hosts = ["c.test"]\n{SITES}')
    settings = read_configuration((), {}, {}).settings
    assert (settings.root, settings.allowed_hosts) == (file.parent / "b", ("c.test",))


def test_paths_of_the_root_have_tables_too(file: Path) -> None:
    file.write_text('[[path]]\nmatch = "*.pdf"\nlisting = "off"\n')
    assert read_configuration((), {}, {}).settings.paths[0].settings.listing == "off"
    file.write_text(f'{SITES}[[path]]\nmatch = "*.pdf"\n')
    with pytest.raises(
        aserve.SettingsError,
        match=r"^aserve\.toml:16: path: has settings for paths of the root, and there",
    ):
        read_configuration((), {}, {})


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ('charset = "none"', 'charset = "no such"', "7: site.charset: must be the name of a char"),
        ('charset = "none"', 'model = "epoll"', "7: site.model: is a setting of the whole server"),
        ('charset = "none"', "quiet = true", "7: site.quiet: is a setting of the whole server"),
        ('charset = "none"', "charsets = 1", "7: site.charsets: there is no such key; did you m"),
        (
            'charset = "none"',
            "host = ['x.test']",
            "7: site.host: is a setting of the whole server; d",
        ),
        (
            "[[site.path]]",
            "[site.path]",
            "9: site.path: must be tables, each with the line [[site.p",
        ),
        ("spa = true", 'port = "x"', "11: site.path.port: is a setting of the whole server"),
        ("spa = true", 'hide = ["a"]', "11: site.path.hide: is a setting of the whole site"),
        ("spa = true", 'root = "a"', "11: site.path.root: is a setting of the whole site"),
        ("spa = true", 'listing = "x"', "11: site.path.listing: must be one of auto, on, off"),
        ('match = "/p/*"', 'match = "p"', "10: site.path.match: a path begins with / or *"),
        ('match = "/p/*"', "match = 1", "10: site.path.match: must be a string"),
        ('match = "/p/*"', "", "9: site.path: has no match, such as '/assets/*'"),
        ('root = "a"', "", "4: site: has no root, the folder of the site"),
        ('root = "a"', 'root = "c"', "6: site.root: there is no directory or file"),
        ('"*.b.test"', '"A.test."', "5: site.hosts: 'A.test.' is a host of a.test already"),
        ('"bücher.test"', '"x.test:80"', "14: site.hosts: must be the name of a host, without a"),
        ('"bücher.test"', "7", "14: site.hosts: must be a string or a list of strings"),
        ('hosts = "bücher.test"', "", "13: site: has no hosts, the names of the site"),
    ],
)
def test_what_is_wrong_in_a_table_has_its_line(file: Path, old: str, new: str, error: str) -> None:
    file.write_text(SITES.replace(old, new, 1))
    with pytest.raises(aserve.SettingsError) as caught:
        read_configuration((), {}, {})
    assert str(caught.value).startswith(f"aserve.toml:{error}")


def test_typed_calls_know_sites(directory: Path) -> None:
    hints = typing.get_type_hints(ServerSettings)
    assert hints["sites"] == tuple[aserve.VirtualHost, ...]
    assert hints["paths"] == tuple[aserve.PathSettings, ...]


def test_the_effective_configuration_has_the_tables_and_can_be_read_again(file: Path) -> None:
    file.write_text(f'root = "b"\n[[path]]\nmatch = "*.pdf"\nlisting = "off"\n{SITES[27:]}')
    before = read_configuration((), {}, {})
    text = format_configuration(before)
    assert "[[site.path]]                             # aserve.toml:" in text
    file.write_text(text)
    assert read_configuration((), {}, {}).settings == before.settings
    file.write_text(SITES)  # without a root
    before = read_configuration((), {}, {})
    file.write_text(format_configuration(before))
    assert read_configuration((), {}, {}).settings == before.settings


def test_each_site_and_path_has_its_warnings(file: Path) -> None:
    site = SITES.replace('charset = "none"', 'symlinks = "all"').replace('title = "Top"\n', "")
    globs = ("/p/*/{a,b}", "*", "/x")
    paths = "".join(f'[[site.path]]\nmatch = "{glob}"\n' for glob in globs)
    file.write_text(f"{site}{paths}".replace("spa = true", 'listing = "off"\npage-size = 3'))
    assert [
        f"{label}: {text}" for label, text in find_warnings(read_configuration((), {}, {}))
    ] == [
        "aserve.toml:6: site.symlinks: a link can lead to any file that the server may read",
        "aserve.toml:11: site.path.page-size: has no effect where no folder is listed",
        "aserve.toml:21: site.path.match: never decides: an earlier one matches",
    ]


def test_what_is_said_of_a_root_that_is_not_there_has_no_effect(file: Path) -> None:
    warning = "aserve.toml:1: title", "has no effect: there is no root beside the sites"
    assert next(find_warnings(read_configuration((), {}, {}))) == warning
    with pytest.raises(aserve.SettingsError, match=r"^--write: .* a site says itself what can be$"):
        read_configuration((), {"write": ["/"]}, {})


def test_any_host_is_a_risk_on_this_machine(file: Path) -> None:
    file.unlink()
    found = find_warnings(read_configuration(["a"], {"allowed_hosts": "any"}, {}))
    assert [label for label, _ in found] == ["--allowed-hosts"]


def test_the_schema_knows_the_tables(file: Path) -> None:
    schema = json.loads((ROOT / "docs" / "aserve.schema.json").read_text())
    jsonschema.validate(tomllib.loads(SITES), schema)
    for old, new in [('root = "a"', ""), ("spa = true", "port = 1"), ('charset = "none"', "a = 1")]:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(tomllib.loads(SITES.replace(old, new)), schema)


def test_the_names_that_settings_say_are_the_servers_own() -> None:
    assert own_hosts("Dev.test", ("local", "*.B.test")) == {"dev.test", "*.b.test"}
    assert own_hosts("::", ("any",)) == {"::"}
    assert own_hosts("a/b", ()) == frozenset()
