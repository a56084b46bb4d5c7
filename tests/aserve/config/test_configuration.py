"""Where the values of settings come from, and one clear line for whatever is wrong with them."""

import json
import os
import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aserve.cli.options import CommandOptions, SettingOptions
from aserve.config.config_file import MAX_SIZE, is_foreign
from aserve.config.configuration import Configuration, read_configuration
from aserve.config.effective import format_configuration
from aserve.config.kinds import KINDS, PROGRAM_KINDS, SETTING_KINDS
from aserve.config.names import is_negated, key_of, option_of, variable_of
from aserve.config.settings import Settings, SettingsError
from aserve.http1.limits import UNLIMITED, Limits
from aserve.transport.registry import MODELS


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path)


def read(
    text: str | None = None,
    *paths: str,
    environment: dict[str, str] | None = None,
    file: str = "aserve.toml",
    **options: Any,
) -> Configuration:
    """Return the configuration of a file, an environment and options."""
    if text is not None:
        Path(file).write_text(text)
    return read_configuration(paths, options, environment or {})


def error_of(text: str | None = None, **given: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        read(text, **given)
    return str(caught.value)


def test_the_command_line_goes_before_the_environment_and_that_before_the_file() -> None:
    text = "page-size = 1\ntitle = 'file'\nhost = '127.0.0.1'\nlive = true\nhide = ['a', 'b']"
    environment = {"ASERVE_PAGE_SIZE": "2", "ASERVE_TITLE": "variable", "ASERVE_HIDE": "c"}
    one = read(text, environment=environment, page_size="3", live=False).settings
    assert (one.page_size, one.title, one.host) == (3, "variable", "127.0.0.1")
    assert (one.live, one.hide, one.charset) == (False, ("c",), "utf-8")
    names = ("page_size", "title", "host", "live", "hide", "charset")
    assert [one.place_of(name) for name in names] == [
        *("--page-size", "ASERVE_TITLE", "aserve.toml:3", "--no-live", "ASERVE_HIDE", "default"),
    ]
    assert one.place_of("hide", 1) == "ASERVE_HIDE"  # no line of the list that it replaces


def test_a_flag_is_named_by_the_option_that_was_given() -> None:
    one = read("readme = false\nlive = true", readme=False).settings  # by --readme
    assert [one.place_of(name) for name in ("readme", "live")] == ["--readme", "aserve.toml:2"]
    assert read("open = false", open=True).sources["open"].label == "--open"


def test_headers_are_lines_of_options_and_variables_and_a_list_or_tables_of_a_file() -> None:
    lines = ("/* X-A: 1", "*.{js,css} Link: </a>, </b>", "/* X-A:")
    tables = "header = {'/*' = {X-A = 1}, '*.{js,css}' = {Link = '</a>, </b>'}}"
    header = f"header = {list(lines)}"
    assert read(header).settings.headers == lines
    assert read(tables).settings.headers == lines[:2]
    given = {"ASERVE_HEADER": "\n".join(lines), "ASERVE_CORS": "on", "ASERVE_CACHE": "60"}
    settings = read(header, environment=given).settings
    assert (settings.headers, settings.cors, settings.cache) == (lines, ("*",), 60)
    settings = read("cors = ['https://a', 'https://b']", headers=list(lines), cache="auto").settings
    assert (settings.headers, settings.cors) == (lines, ("https://a", "https://b"))
    assert read("cors = true\ncache = 60").settings.cors == ("*",)


def test_a_wrong_header_is_named_by_its_line() -> None:
    reason = "Date cannot be set: the server makes it, with each response"
    assert error_of("[header.'/*']\nX-A = '1'\nDate = 'x'") == (
        f'aserve.toml:3: header."/*".Date: {reason}'
    )
    assert error_of("header = [\n '/* X-A: 1',\n '/* Date: x',\n]") == (
        f"aserve.toml:3: header: {reason}"
    )
    assert error_of(environment={"ASERVE_HEADER": "/* Date: x"}) == f"ASERVE_HEADER: {reason}"


def test_each_limit_is_a_value_of_its_own() -> None:
    text = "[limit]\nmax-body = 'unlimited'\nbacklog = 7\nmax-headers = 5"
    environment = {"ASERVE_LIMIT": "backlog=8\nmin-rate=0"}
    one = read(text, environment=environment, limits=["max-headers=6"]).settings
    expected = Limits(max_body=UNLIMITED, backlog=8, min_rate=0, max_headers=6)
    assert one.limits == expected
    places = ("max-body", "backlog", "min-rate", "max-headers")
    assert [one.place_of("limits", name) for name in places] == [
        *("aserve.toml:2", "ASERVE_LIMIT", "ASERVE_LIMIT", "--limit"),
    ]
    assert one.sources.get("limits[max-request-line]") is None


def test_file_and_environment_are_read_anew_each_time() -> None:
    environment: dict[str, str] = {}
    assert read("page-size = 1", environment=environment).settings.page_size == 1
    assert read("page-size = 2", environment=environment).settings.page_size == 2
    environment["ASERVE_PAGE_SIZE"] = "3"
    assert read(environment=environment).settings.page_size == 3
    Path("aserve.toml").unlink()
    assert read().settings.page_size == Settings(".").page_size


def test_the_file_is_named_or_here_or_none(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    read("title = 'here'")
    named = {"ASERVE_CONFIG": "etc/a.toml"}
    one = read("title = 'there'", file="etc/a.toml", environment=named)
    assert one.settings.title == "there"
    assert one.settings.place_of("title") == "etc/a.toml:1"
    assert read(environment=named, config="aserve.toml").settings.title == "here"
    assert read(environment=named, config="off").settings.title == ""
    assert read(environment={"ASERVE_CONFIG": "off"}).file is None
    assert read(None, "www").settings.title == "here"  # whatever is served
    Path("aserve.toml").rename("www/aserve.toml")
    assert read(None, "www").file is None


@pytest.mark.parametrize(
    ("text", "root"),
    [
        ("root = 'www'", "www"),
        ("root = '../www'", None),
        ("[root]\n'/' = 'www'\n'docs' = 'x'", {"": "www", "docs": "x"}),
        ("[root]\n'a/b' = 'x'", {"a/b": "x"}),
    ],
)
def test_paths_in_a_file_begin_where_the_file_is(tmp_path: Path, text: str, root: Any) -> None:
    for name in ("etc/www", "etc/x"):
        (tmp_path / name).mkdir(parents=True)
    one = read(f"access-log = 'log'\n{text}", file="etc/a.toml", config="etc/a.toml")
    assert one.access_log == str(tmp_path / "etc/log")
    if isinstance(root, dict):
        root = {name: tmp_path / "etc" / path for name, path in root.items()}
        assert one.settings.root == root
    else:
        assert isinstance(one.settings.root, Path)
        assert one.settings.root.resolve() == tmp_path / ("etc/www" if root else "www")
    assert read("access-log = '-'").access_log == "-"
    assert read(None, "docs").settings.root == tmp_path / "docs"
    served = read(environment={"ASERVE_ROOT": "a=docs\n\nwww"}).settings.root
    assert served == {"a": tmp_path / "docs", "": tmp_path / "www"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = 'a'\nprot = 80", "aserve.toml:2: prot: there is no such key; did you mean port?"),
        ("page_size = 5", "aserve.toml:1: page_size: there is no such key; did you mean page-size"),
        ("'a\\nb' = 5", 'aserve.toml:1: "a\\\\nb": there is no such key'),
        ('"a\\nb" = 5', 'aserve.toml:1: "a\\nb": there is no such key'),
        ("listening = 1", "aserve.toml:1: listening: there is no such key; did you mean listing?"),
        ("headers = 1", "aserve.toml:1: headers: there is no such key; did you mean header?"),
        ("[limit]\ntimeout = 1", "aserve.toml:2: limit.timeout: there is no limit 'timeout', but"),
        ("xyzzy = 1", "aserve.toml:1: xyzzy: there is no such key"),
        ("queue = 1", "aserve.toml:1: queue: there is no such key"),
        ("\n\nport = '80'", 'aserve.toml:3: port: must be a whole number, not "80"'),
        ("rate = '5'", "aserve.toml:1: rate: must be N/s, N/m or N/h, with :BURST if wanted, not"),
        ("rate = 5", "aserve.toml:1: rate: must be a rate such as '100/s', or 'off', not 5"),
        ("bandwidth = '5'", "aserve.toml:1: bandwidth: must be from 4096 to 1073741824"),
        (
            "[[site]]\nhosts='a'\nroot='www'\nbandwidth='5M'",
            "aserve.toml:4: site.bandwidth: is a setting of the whole server",
        ),
        ("port = true", "aserve.toml:1: port: must be a whole number, not true"),
        ("port = 80.5", "aserve.toml:1: port: must be a whole number, not 80.5"),
        ("port = 99999", "aserve.toml:1: port: must be from 0 to 65535"),
        ("host = 1", "aserve.toml:1: host: must be a string, not 1"),
        ("live = 'yes'", 'aserve.toml:1: live: must be true or false, not "yes"'),
        ("hide = 'a'", 'aserve.toml:1: hide: must be a list of strings, not "a"'),
        ("hide = ['a', 1]", 'aserve.toml:1: hide: must be a list of strings, not ["a", 1]'),
        (f"hide = {['a'] * 1001}", "aserve.toml:1: hide: at most 1,000 globs, all of which are tr"),
        ("hide = ['../a']", "aserve.toml:1: hide: must be a name or a path that can exist: '../a'"),
        ("[type]\na = 't/a'\nb = [1]", "aserve.toml:3: type.b: must be a string or a whole number"),
        ("[type]\na = 't/a'\nb = 'x'", "aserve.toml:3: type.b: must be SUFFIX=TYPE, as in srt=tex"),
        ("index = [1]", "aserve.toml:1: index: must be a list of strings, not [1]"),
        ("index = ['a',\n'b/c']", "aserve.toml:2: index: must be the name of a file, not 'b/c'"),
        ("hide = ['a',\n1]", 'aserve.toml:2: hide: must be a list of strings, not ["a", 1]'),
        ("hide = ['a',\n'../a']", "aserve.toml:2: hide: must be a name or a path that can exist: "),
        ("archive = ['zip',\n'rar']", "aserve.toml:2: archive: must be one of zip, tar, tar.gz, t"),
        ("allow-connect=['a:1',\n'b']", "aserve.toml:2: allow-connect: must be HOST:PORT, not 'b'"),
        ("[error-page]\n404='a'\n5xx='../b'", "aserve.toml:3: error-page.5xx: must be STATUS=PATH"),
        ("allowed-hosts=['a',\n'b/']", "aserve.toml:2: allowed-hosts: must be the name of a host,"),
        ("[header.'/a']\nX='1'\nY=1.5", "aserve.toml:3: header.\"/a\".Y: must be a string or a wh"),
        ("[root]\na='www'\n'/b'='x'", "aserve.toml:3: root.\"/b\": /b: there is no directory or f"),
        ("port = " + "9" * 30, "aserve.toml:1: is not TOML: a number has more than 64 bits"),
        ("\nport = " + "9" * 5000, "aserve.toml:2: is not TOML: a number has more than 64 bits"),
        ("\nport = 0x" + "f" * 5000, "aserve.toml:2: is not TOML: a number has more than 64 bits"),
        ("spa = 1", "aserve.toml:1: spa: must be true, false or a string, not 1"),
        ("spa = ''", "aserve.toml:1: spa: must not be empty"),
        ("workers = 'many'", "aserve.toml:1: workers: must be 'auto' or at least 1, not 'many'"),
        ("quota = '9'", "aserve.toml:1: quota: has no effect where nothing can be written to"),
        ("quota = -9", "aserve.toml:1: quota: must be a number such as 500 or 20G, or 'unlimite"),
        ("root = 'nowhere'", "aserve.toml:1: root: there is no directory or file"),
        ("root = ['www']", "aserve.toml:1: root: must be a path, or a table of paths by their"),
        ("root = '~no-such-user/x'", "aserve.toml:1: root: there is no directory or file"),
        ("access-log = ''", "aserve.toml:1: access-log: must not be empty; use 'off' for no log"),
        ("access-log = 'stdout'", "aserve.toml:1: access-log: use '-' for standard output; for a"),
        ("access-log = false", "aserve.toml:1: access-log: must be a file, '-' or 'off', not f"),
        ("root = ''", "aserve.toml:1: root: must be a path, or a table of paths by their names"),
        ("[root]\na = 'www'\n'/a/' = 'www'", "aserve.toml:1: root: /a is named twice"),
        ("\n[limit]\nfoo = 1", "aserve.toml:3: limit.foo: there is no limit 'foo'; the limits"),
        ("[limit]\nbacklog=9\nmax-body=0.5", "aserve.toml:3: limit.max-body: must be a string or "),
        ("limit = ['backlog=0']", "aserve.toml:1: limit: backlog must be at least 1"),
        ("model = 'epoll'\nthreads = 3", "aserve.toml:2: threads: the model epoll does not use it"),
        ("model = 'x'", "aserve.toml:1: model: must be one of"),
        ("a = 1\nb", "aserve.toml:2: is not TOML: "),
        ("a = 1\na = 2", "aserve.toml:2: is not TOML: cannot overwrite a value"),
        ("a = '''\n\n", "aserve.toml:2: is not TOML: "),
        ("title = 'x", "aserve.toml:1: is not TOML: "),
    ],
)  # fmt: skip
def test_an_error_in_a_file_names_file_line_and_key(text: str, message: str) -> None:
    assert error_of(text).startswith(message)
    assert "\n" not in error_of(text)


def test_a_file_that_cannot_be_read_is_named_by_what_names_it(tmp_path: Path) -> None:
    assert error_of(config="x") == "--config: cannot read 'x': No such file or directory"
    assert error_of(environment={"ASERVE_CONFIG": "www"}) == (
        "ASERVE_CONFIG: cannot read 'www': Is a directory"
    )
    os.mkfifo("pipe")
    assert error_of(config="pipe").startswith(
        "--config: cannot read 'pipe': it is not a regular fi"
    )
    assert error_of(config="/dev/zero").startswith("--config: cannot read '/dev/zero': it is not a")
    with Path("large").open("wb") as file:
        file.truncate(MAX_SIZE + 1)
    assert error_of(config="large") == "--config: cannot read 'large': it is larger than 4 MB"
    for text in ("=", "[[" * 5_000):
        assert error_of(text, file="a\x1b", config="a\x1b").startswith("'a\\x1b':")
    assert error_of(config="a\0b").startswith("--config: cannot read 'a\\x00b': embedded null")
    assert error_of(config="") == "--config: must not be empty; 'off' is no file"
    (tmp_path / "aserve.toml").symlink_to("nowhere")
    assert error_of() == "aserve.toml: cannot read 'aserve.toml': No such file or directory"
    (tmp_path / "bytes").write_bytes(b"a = 1\nb = '\xff'")
    assert error_of(config="bytes") == "bytes:2: must be UTF-8"
    (tmp_path / "deep").write_text("a = " + "[" * 100_000)
    assert error_of(config="deep").startswith("deep")
    (tmp_path / "bom").write_bytes(b"\xef\xbb\xbf# Windows\r\ntitle = 'x'\r\nfoo = 1")
    assert error_of(config="bom") == "bom:3: foo: there is no such key"


@pytest.mark.parametrize(
    ("of_directory", "owner", "is_refused"),
    [
        ((0o1777, 0), 1001, True),  # another user's file in /tmp
        ((0o777, 1000), 1001, True),
        ((0o1777, 0), 1000, False),
        ((0o1777, 0), 0, False),
        ((0o777, 1001), 1001, False),
        ((0o775, 0), 1001, False),  # a volume of a container, whose users are others
    ],
)
def test_a_file_that_any_user_can_have_put_there_is_not_used(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    of_directory: tuple[int, int],
    owner: int,
    is_refused: bool,
) -> None:
    def with_owner(status: os.stat_result, mode: int, owner: int) -> os.stat_result:
        return os.stat_result((mode, *status[1:4], owner, *status[5:]))

    read("title = 'x'")
    file = with_owner(Path("aserve.toml").stat(), 0o644, owner)
    directory = with_owner(tmp_path.stat(), *of_directory)
    assert is_foreign(file, directory, 1000) is is_refused
    monkeypatch.setattr("aserve.config.config_file.is_foreign", lambda *_: is_refused)
    if is_refused:
        assert error_of().startswith(
            "aserve.toml: belongs to another user, in a directory that everyone may write to: use "
        )
        assert read(config="off").settings.title == ""
    else:
        assert read().settings.title == "x"
    assert read(config="aserve.toml").settings.title == "x"


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("ASERVE_PORT", "x", "must be a whole number, not 'x'"),
        ("ASERVE_PORT", "-1", "must be from 0 to 65535"),
        ("ASERVE_LIVE", "maybe", "must be on or off, not 'maybe'"),
        ("ASERVE_PROT", "1", "there is no such variable; did you mean ASERVE_PORT?"),
        ("ASERVE_port", "1", "there is no such variable; did you mean ASERVE_PORT?"),
        ("ASERVE_NO_README", "1", "there is no such variable; did you mean ASERVE_README?"),
        ("ASERVE_CONFIGG", "1", "there is no such variable; did you mean ASERVE_CONFIG?"),
        ("ASERVE_XYZZY", "1", "there is no such variable"),
        ("ASERVE_ROOT", "nowhere", "there is no directory or file 'nowhere'"),
        ("ASERVE_LIMIT", "foo=1", "there is no limit 'foo'; the limits are"),
    ],
)
def test_an_error_in_a_variable_names_it(variable: str, text: str, message: str) -> None:
    assert error_of(environment={variable: text}).startswith(f"{variable}: {message}")


@pytest.mark.parametrize("name", ["VERSION", "EXPLAIN", "HELP", "", "A"])
def test_nothing_is_proposed_that_is_not_like_it(name: str) -> None:
    """The prefix that all variables have makes none of them similar."""
    variable = f"ASERVE_{name}"
    assert error_of(environment={variable: "1"}) == f"{variable}: there is no such variable"


def test_variables_that_others_set_are_left_alone() -> None:
    """Kubernetes tells every container of its services, one of which may be called aserve."""
    environment = {
        "ASERVE_SERVICE_HOST": "10.0.0.1",
        "ASERVE_SERVICE_PORT": "80",
        "ASERVE_SERVICE_PORT_HTTP": "80",
        "ASERVE_PORT": "tcp://10.0.0.1:80",
        "ASERVE_PORT_80_TCP": "tcp://10.0.0.1:80",
        "ASERVE_PORT_80_TCP_PROTO": "tcp",
        "ASERVE_DOCS_SERVICE_HOST": "10.0.0.2",
        "ASERVE_DOCS_PORT": "tcp://10.0.0.2:80",
        "ASERVE_DOCS_PORT_80_TCP_ADDR": "10.0.0.2",
        "ASERVE_TITLE": "",
        "_ASERVE_COMPLETE": "",
        "OTHER": "x",
    }
    one = read(environment=environment)
    assert one.settings.port is None
    assert one.sources == {}


@pytest.mark.parametrize(
    ("written", "text", "option", "name", "value"),
    [
        ("'unlimited'", "unlimited", "unlimited", "archive_max_bytes", UNLIMITED),
        ("'2M'", "2M", "2M", "response_cache", 2 << 20),
        ("2097152", "2097152", "2M", "response_cache", 2 << 20),
        ("'off'", "off", "off", "response_cache", 0),
        ("8", "8", "8", "workers", 8),
        ("['a', 'b']", "a,b", "a, b", "index", ("a", "b")),
        ("'a,b'", " a , b", "a,b", "index", ("a", "b")),
        ("[]", "off", "off", "archive", ()),
        ("['zip']", "zip", "zip", "archive", ("zip",)),
        ("true", "on", "index.html", "spa", "index.html"),
        ("'a.html'", "a.html", "a.html", "spa", "a.html"),
        ("false", "0", "off", "spa", ""),
        ("true", "yes", ["/"], "write", ("/",)),
        ("['/in', 'add:/x']", "/in\nadd:/x", ["/in", "add:/x"], "write", ("/in", "add:/x")),
        ("false", "no", ["off"], "write", ()),
        ("{srt = 'text/srt'}", "srt=text/srt", ["srt=text/srt"], "types", ("srt=text/srt",)),
        ("{404 = 'a', 5xx = 'b'}", "404=a\n5xx=b", ["404=a", "5xx=b"], "error_page",
         ("404=a", "5xx=b")),
        ("false", "off", True, "readme", False),
        ("true", "ON", False, "fsync", True),
        ("true", "1", True, "dotfiles", True),
    ],
)  # fmt: skip
def test_each_source_can_say_the_same(
    written: str, text: str, option: Any, name: str, value: Any
) -> None:
    text_of_file = f"{key_of(name)} = {written}"
    SCHEMA.validate(tomllib.loads(text_of_file))
    from_file = read(text_of_file).settings
    Path("aserve.toml").unlink()
    from_environment = read(environment={variable_of(name): text}).settings
    from_line = read(**{name: option}).settings
    assert [getattr(one, name) for one in (from_file, from_environment, from_line)] == [value] * 3
    assert from_file == from_environment == from_line


def test_each_option_has_a_key_and_a_variable() -> None:
    options = CommandOptions.__annotations__.keys() - {"config"}
    assert KINDS.keys() - {"root"} == options
    assert SETTING_KINDS.keys() - {"root"} == SettingOptions.__annotations__.keys()
    assert len({variable_of(name) for name in KINDS}) == len(KINDS)
    assert PROGRAM_KINDS.keys() == options - SettingOptions.__annotations__.keys()
    on = {field.name for field in fields(Settings) if field.default is True}
    assert {name for name in KINDS if is_negated(name)} == on
    assert option_of("fsync") == "--no-fsync"
    assert (option_of("types"), key_of("limits")) == ("--type", "limit")


DOCS = Path(__file__).parents[3] / "docs"
SCHEMA = jsonschema.Draft7Validator(json.loads((DOCS / "aserve.schema.json").read_text()))


def test_the_files_in_the_documentation_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "www" / "index.html").touch()
    blocks = re.findall(r"```toml\n(.*?)```", (DOCS / "configuration.md").read_text(), re.DOTALL)
    assert len(blocks) > 1
    for block in blocks:
        text = block.replace("/srv/docs", "docs")
        assert len(read(text).settings.sources) >= len(tomllib.loads(text))
        SCHEMA.validate(tomllib.loads(text))


def test_groups_are_said_by_every_source_and_printed(tmp_path: Path) -> None:
    users = 'auth = ["ann:a", "ben:b"]\nreaders = "@staff"\n'
    table = '[groups]\nstaff = ["ann", "ben"]\nheads = "ann"\n'
    texts = ("staff=ann,ben", "heads=ann")
    SCHEMA.validate(tomllib.loads(users + table))
    configuration = read(users + table)
    printed = format_configuration(configuration)
    assert configuration.settings.groups == texts
    assert re.search(r'^ +"staff=ann,ben", +# aserve.toml:4$', printed, re.MULTILINE)
    assert read(users, environment={"ASERVE_GROUPS": "\n".join(texts)}).settings.groups == texts
    assert read(users, groups=list(texts)).settings.groups == texts
    assert read(f"{users}groups = {list(texts)}").settings.groups == texts
    assert error_of(f"{users}[groups]\nstaff = ['ann',\n'zoe']") == (
        "aserve.toml:4: groups.staff: staff: there is no user 'zoe', only ann, ben"
    )
    assert error_of(f"{users}[groups]\na = ['ann']\nstaff = 3").startswith(
        "aserve.toml:5: groups.staff: must be a list of the names of users, not 3"
    )


sizes = st.sampled_from(["off", "1M", "3G", "2000000"])
names = st.text(st.characters(codec="utf-8", exclude_characters="/\0,\n\r"), min_size=1, max_size=5)
names = names.filter(lambda name: name.strip() == name and name not in {".", ".."})
OPTIONS = {
    "port": st.integers(0, 65_535).map(str),
    "page_size": st.integers(1, 2_000).map(str),
    "title": st.text(st.characters(codec="utf-8"), max_size=8),
    "types": st.lists(st.sampled_from(["a=text/a", "b=text/b"]), min_size=1, max_size=3),
    "index": st.lists(names, min_size=1, max_size=3).map(",".join),
    "spa": names,
    "error_page": st.lists(names.map("404={}".format), min_size=1, max_size=2),
    "limits": st.lists(
        st.sampled_from(["max-body=5", "max-body=0", "min-rate=0", "max-connections-per-ip=auto"]),
        min_size=1,
        max_size=3,
    ),
    "response_cache": sizes,
    "archive": st.sampled_from(["off", "zip", "tar,zip"]),
    "archive_max_bytes": st.sampled_from(["5", "7K", "unlimited"]),
    "workers": st.integers(1, 9).map(str),
    "headers": st.lists(
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8).map(
            "/a* X-A: {}".format
        ),
        min_size=1,
        max_size=3,
    ),
    "cache": st.sampled_from(["auto", "no-store", "60"]),
    "cors": st.sampled_from(["*", "https://a.test,https://*.b.test", "off"]),
    "allowed_hosts": st.sampled_from(["any", "local", "a.test, *.b.test"]),
    "rate": st.sampled_from(["off", "5/s", "7/h:9"]),
    "bandwidth": st.sampled_from(["off", "5M", "5000"]),
    "readme": st.booleans(),
    "dotfiles": st.booleans(),
    "quiet": st.booleans(),
    "access_log": st.sampled_from(["-", "off", "log"]),
}


@given(st.fixed_dictionaries({}, optional=OPTIONS), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_printed_can_be_read_again(options: dict[str, Any], is_several: bool) -> None:
    paths = ["www", "a b=docs"] if is_several else ["www"]
    first = read_configuration(paths, {**options, "config": "off"}, {})
    printed = format_configuration(first)
    lines = filter(None, printed.splitlines())
    assert all("  # " in line or line[0] in "[]" for line in lines)
    Path("printed.toml").write_text(printed)
    second = read_configuration([], {"config": "printed.toml"}, {})
    assert second.settings == first.settings
    SCHEMA.validate(tomllib.loads(printed))
    log = first.access_log
    log = str(Path("log").absolute()) if log == "log" else log
    assert (second.quiet, second.open, second.access_log) == (first.quiet, False, log)


@pytest.mark.parametrize("model", MODELS)
def test_what_is_printed_for_a_model_can_be_read_again(model: str) -> None:
    if reason := MODELS[model].unavailable_reason():
        pytest.skip(reason)
    first = read(None, "www", model=model)
    second = read(format_configuration(first))
    assert second.settings == first.settings


def test_what_is_printed_says_where_each_value_is_from() -> None:
    text = "root = 'www'\ntitle = 'a \"b\"'\nhide=['a',\n'b']\n[limit]\nbacklog = 9"
    text += "\n[header.'/*']\nX = '1'"
    printed = format_configuration(read(text, environment={"ASERVE_PORT": "0"}, readme=True))
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    for line in (
        f'root = "{Path("www").absolute()}" # aserve.toml:1',
        'title = "a \\"b\\"" # aserve.toml:2',
        "hide = [ # aserve.toml:3",
        'header = ["/* X: 1"] # aserve.toml:8',
        '"b", # aserve.toml:4',
        "error-page = [] # default",
        "port = 0 # ASERVE_PORT",
        "readme = false # --no-readme",
        'host = "localhost" # default',
        "backlog = 9 # aserve.toml:6",
        "max-headers = 100 # default",
    ):
        assert line in lines
    assert tomllib.loads(printed)["limit"]["backlog"] == 9


@given(
    st.binary(max_size=60)
    | st.text(st.sampled_from("abtitle=[]{}'\"\n 1.#"), max_size=40).map(str.encode)
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_is_read_or_one_line(data: bytes) -> None:
    Path("any.toml").write_bytes(data)
    message = "any.toml"
    try:
        read_configuration([], {"config": "any.toml"}, {})
    except SettingsError as error:
        message = str(error)
    assert message.startswith("any.toml")
    assert "\n" not in message
