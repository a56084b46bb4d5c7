"""Settings: one home for names, types and defaults, and one clear line for whatever is wrong."""

import inspect
import typing
from pathlib import Path

import pytest

import aserve
from aserve.config.server_settings import ServerSettings
from aserve.transport.registry import MODELS

NOT_OF_A_SERVER = {"workers", "sources", "htpasswd_lines"}
"""In a program it is one process, and all is said there; and what a file said is no argument."""
STATUS_AND_PATH = "must be STATUS=PATH, as in 404=missing.html or 5xx=broken.html"
PATH_NAME_VALUE = "must be PATH NAME: VALUE, as in '/docs/* X-Frame-Options: DENY'"
CACHING = "must be one of auto, no-cache, no-store, or seconds from 0 to 2147483647"
NETWORK = "must be a network such as 10.0.0.0/8, or an address"
AN_ADDRESS = "an IPv4 or IPv6 network"
OWN_ARGUMENTS = ["root", "port", "access_log"]


def test_the_typed_keyword_arguments_are_the_settings() -> None:
    settings = typing.get_type_hints(aserve.Settings)
    typed = typing.get_type_hints(ServerSettings)
    assert typed == {
        name: kind
        for name, kind in settings.items()
        if name not in {*OWN_ARGUMENTS, *NOT_OF_A_SERVER}
    }


def test_help_shows_every_argument_with_its_default(directory: Path) -> None:
    shown = inspect.signature(aserve.Server).parameters
    assert list(shown) == [*OWN_ARGUMENTS, *ServerSettings.__annotations__]
    settings = inspect.signature(aserve.Settings).parameters
    assert shown["threads"].default == settings["threads"].default
    assert shown["port"].default == 0
    assert "threads: int | None = None" in str(inspect.signature(aserve.Server))


@pytest.mark.parametrize(("model", "threads"), [("reactor", 8), ("asyncio", 8), ("proactor", 0)])
def test_the_default_number_of_threads_is_that_of_the_model(
    directory: Path, model: str, threads: int
) -> None:
    if reason := MODELS[model].unavailable_reason():
        pytest.skip(reason)
    assert aserve.Settings(directory, model=model).threads == threads
    assert aserve.Settings(directory, model=model, threads=threads).threads == threads


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [
        ("port", "8000", "must be a whole number or None, not '8000'"),
        ("port", 65_536, "must be from 0 to 65535"),
        ("port", True, "must be a whole number or None, not True"),
        ("host", None, "must be a string, not None"),
        ("host", "", "must not be empty"),
        ("threads", 2.0, "must be a whole number or None, not 2.0"),
        ("threads", 0, "must be from 1 to 512"),
        ("queue", -1, "must be at least 0"),
        ("grace", "8", "must be a number, not '8'"),
        ("grace", -1, "must be from 0 to 86400"),
        ("grace", float("nan"), "must be from 0 to 86400"),
        ("grace", float("inf"), "must be from 0 to 86400"),
        ("allow_trace", 1, "must be True or False, not 1"),
        ("allow_connect", "a:1", "must be a tuple of strings, not 'a:1'"),
        ("allow_connect", ("a",), "must be HOST:PORT, not 'a'"),
        ("types", ["a=text/a"], "must be a tuple of strings, not ['a=text/a']"),
        ("types", (1,), "must be a tuple of strings, not (1,)"),
        ("response_cache", 1_024, "must be 0, for no cache, or at least 1M (1,048,576)"),
        ("compress", "yes", "must be one of auto, siblings, off, not 'yes'"),
        ("compress_memory", 1_024, "must be 0, for none, or at least 1M (1,048,576)"),
        ("compress_folder", "/dev/null/x", "cannot be used: Not a directory"),
        ("compress_folder", "/dev/null", "must be a directory"),
        ("compress_folder", "/no/such", "cannot be made there"),
        ("compress_folder", "/tmp", "must be a directory that this user alone can write to"),
        ("archive", ["zip"], "must be a tuple of strings, not ['zip']"),
        ("archive", ("rar",), "must be one of zip, tar, tar.gz, tar.zst, not 'rar'"),
        ("archive_max_bytes", 0, "must be at least 1"),
        ("archive_max_files", None, "must be a whole number, not None"),
        ("listing", "yes", "must be one of auto, on, off, not 'yes'"),
        ("page_size", 0, "must be from 1 to 2000"),
        ("page_size", 2_001, "must be from 1 to 2000"),
        ("hide", "tmp", "must be a tuple of strings, not 'tmp'"),
        ("hide", ("a", "../b"), "must be a name or a path that can exist: '../b'"),
        ("hide", ("[z-a]",), "z-a must be a range of ASCII characters: '[z-a]'"),
        ("symlinks", "some", "must be one of inside, all, none, not 'some'"),
        ("charset", None, "must be a string, not None"),
        ("model", [], "must be a string, not []"),
        ("limits", {"max_body": 3}, "must be aserve.Limits(...), not {'max_body': 3}"),
        ("limits", list(range(99)), "must be aserve.Limits(...), not [0, 1, 2, 3, 4, 5, ...]"),
        ("access_log", "log.txt", "must be a function or None, not 'log.txt'"),
        ("index", (), "must name at least one file"),
        ("index", ("a/b",), "must be the name of a file, not 'a/b'"),
        ("index", ("..",), "must be the name of a file, not '..'"),
        ("urls", "x", "must be one of plain, github, netlify, cloudflare, vercel, not 'x'"),
        ("spa", "../a", "must be the path of a file beneath the root, not '../a'"),
        ("spa", "a/", "must be the path of a file beneath the root, not 'a/'"),
        ("error_page", ("404",), f"{STATUS_AND_PATH}, not '404'"),
        ("error_page", ("200=a",), f"{STATUS_AND_PATH}, not '200=a'"),
        ("error_page", ("499=a",), f"{STATUS_AND_PATH}, not '499=a'"),
        ("error_page", ("404=a", "off"), f"{STATUS_AND_PATH}, not 'off'"),
        ("error_page", ("5xx=//a",), f"{STATUS_AND_PATH}, not '5xx=//a'"),
        ("headers", "X-A: 1", "must be a tuple of strings or a mapping, not 'X-A: 1'"),
        ("headers", ("X-A: 1",), f"{PATH_NAME_VALUE}, not 'X-A: 1'"),
        ("headers", ("/*",), f"{PATH_NAME_VALUE}, not '/*'"),
        ("headers", ("X-A: b: c",), "a path begins with / or *, not 'X-A:'"),
        ("headers", ("a X-A: b",), "a path begins with / or *, not 'a'"),
        ("headers", ("/{a X-A: b",), "a { has no }, or a } no {, not '/{a'"),
        ("headers", ("/* X A: b",), "'X A' is not the name of a header"),
        ("headers", ("/* Date: b",), "Date cannot be set: the server makes it, with each response"),
        (
            "headers",
            ("/* X: a\nb",),
            "the value of X has a control character, or one beyond ASCII: 'a\\nb'",
        ),
        ("headers", {"/*": "X: 1"}, "must have a mapping of headers for each path, not 'X: 1'"),
        ("headers", {"/*": {"X": 1}}, "must have a string for each header of /*, not 1"),
        ("cache", "forever", f"{CACHING}, not 'forever'"),
        ("cache", -1, f"{CACHING}, not -1"),
        ("cache", True, "must be a string or a whole number, not True"),
        ("cors", ("app.test",), "must be an origin such as https://app.test, or *, not 'app.test'"),
        ("cors", ("*", "https://a"), "* is any origin, and stands alone"),
        ("etag", "strong", "must be one of stat, content, off, not 'strong'"),
        ("handlers", {"now": None}, "must have paths such as /now, not 'now'"),
        ("handlers", {"/now": 3}, "must have an object with a method handle for /now, not 3"),
        ("handlers", [], "must be a mapping or None, not []"),
        ("write", ("in",), "must be a path such as /in, add, or add:/in, not 'in'"),
        ("write", ("all",), "must be a path such as /in, add, or add:/in, not 'all'"),
        ("write", ("add:in",), "must be a path such as /in, add, or add:/in, not 'add:in'"),
        ("write", ("/in", "add:/in/"), "/in/ is named twice"),
        ("write", ("add", "/"), "/ is named twice"),
        ("write", "/in", "must be a tuple of strings, not '/in'"),
        ("on_conflict", "ask", "must be one of error, replace, rename, not 'ask'"),
        ("max_upload", 0, "must be at least 1"),
        ("quota", 0, "must be at least 1"),
        ("min_free", -1, "must be at least 0"),
        ("quota", 5, "has no effect where nothing can be written to"),
        ("fsync", False, "has no effect where nothing can be written to"),
        ("proxy_trust", ("nobody",), f"{NETWORK}: 'nobody' does not appear to be {AN_ADDRESS}"),
        ("proxy_trust", ("unix", "10.0.0.1/8"), f"{NETWORK}: 10.0.0.1/8 has host bits set"),
        ("proxy_protocol", "v2", "must be True or False, not 'v2'"),
        ("proxy_protocol", True, "needs proxy_trust: which peers may say who the client is"),
        ("workers", 2, "a server in a program is one process"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_setting(
    directory: Path, setting: str, value: object, reason: str
) -> None:
    with pytest.raises(aserve.SettingsError) as caught:
        aserve.Server(directory, **{setting: value})
    assert str(caught.value) == f"{setting}: {reason}"
    assert (caught.value.setting, caught.value.reason) == (setting, reason)


@pytest.mark.parametrize("root", [None, 3, b"www"])
def test_a_root_that_is_no_path(root: object) -> None:
    with pytest.raises(aserve.SettingsError) as caught:
        aserve.Server(root)
    assert str(caught.value) == f"root: must be the path of a directory, not {root!r}"


@pytest.mark.parametrize("name", ["nowhere", "a\0b", "x" * 5_000, "8000"])
def test_a_root_that_is_no_directory(name: str) -> None:
    with pytest.raises(aserve.SettingsError, match=r"^root: "):
        aserve.Server(name)


@pytest.mark.parametrize("make", [aserve.Server, aserve.Settings])
def test_an_unknown_setting_names_the_right_ones(directory: Path, make: type) -> None:
    with pytest.raises(TypeError, match=r"^unknown setting 'trheads': did you mean 'threads'\?"):
        make(directory, trheads=3)
    with pytest.raises(TypeError, match=r"^unknown setting 'foo': the settings are root.*, limits"):
        make(directory, foo=3)


def test_an_unknown_limit_names_the_right_ones() -> None:
    with pytest.raises(
        TypeError, match=r"^unknown limit 'max_conections': did you mean 'max_connections'\?"
    ):
        aserve.Limits(max_conections=3)
    with pytest.raises(TypeError, match=r"the limits are max_request_line, .*, backlog$"):
        aserve.Limits(patience=3)


@pytest.mark.parametrize("value", ["1M", 1.5, None, True])
def test_a_limit_of_a_wrong_type_is_named(value: object) -> None:
    with pytest.raises(aserve.LimitError) as caught:
        aserve.Limits(max_body=value)
    assert str(caught.value) == f"max_body must be a whole number, not {value!r}"


def test_settings_are_those_that_were_given(directory: Path) -> None:
    server = aserve.Server(str(directory), threads=3, grace=0, charset="none")
    settings = server.settings
    assert (settings.root, settings.port, settings.threads) == (directory, 0, 3)
    assert (settings.grace, settings.charset) == (0, "none")


def test_a_folder_for_compressed_files_is_not_served(directory: Path) -> None:
    for folder in (directory, directory / "sub", directory / "sub" / ".." / "new"):
        with pytest.raises(aserve.SettingsError, match="must not be in a directory that is served"):
            aserve.Settings(directory, compress_folder=str(folder))
    aserve.Settings(directory, compress_folder=str(directory.parent / "new"))
