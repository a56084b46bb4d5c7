"""`aserve check`: what it prints, what it warns of, and what it says of a response."""

import getpass
import io
import os
import resource
import shutil
import socket
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from aserve.access import passwords
from aserve.access.logins import Logins
from aserve.cli import explain, serving
from aserve.cli.main import main
from aserve.config.configuration import label_of, read_configuration
from aserve.explain.capture import ServerOptions
from aserve.filesystem.rule_files import MAX_REPORTED
from aserve.server import exposure, setting_warnings
from aserve.server.setting_warnings import find_warnings
from tests.aserve.access.test_passwords import BCRYPT
from tests.aserve.config.test_configuration import SCHEMA


@pytest.fixture
def here(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the directory that has the site, as `site`, the working directory."""
    monkeypatch.chdir(directory.parent)
    monkeypatch.setenv("HOME", "/nowhere")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 30))
    for name in [name for name in os.environ if name.startswith("ASERVE_")]:
        monkeypatch.delenv(name)
    return directory.parent


@pytest.fixture
def check(here, capsys):
    """Run `aserve check` in this process; return its exit code, output and errors."""

    def run(*arguments: str) -> tuple[int, list[str], list[str]]:
        with pytest.raises(SystemExit) as exit_info:
            main(["check", *arguments])
        stdout, stderr = capsys.readouterr()
        assert isinstance(exit_info.value.code, int)
        return exit_info.value.code, stdout.splitlines(), stderr.splitlines()

    return run


def warnings_of(*paths: str, **options: object) -> list[str]:
    configuration = read_configuration(paths, options, {})
    sources = configuration.sources
    return [f"{label_of(name, sources)}: {text}" for name, text in find_warnings(configuration)]


def test_the_configuration_and_its_warnings(here: Path, check) -> None:
    (here / "aserve.toml").write_text("root = 'site'\nsymlinks = 'all'\n")
    code, lines, errors = check("--title", "x")
    assert code == 0
    assert [line for line in lines if "default" not in line and line not in {"", "[limit]"}] == [
        f'root = "{here / "site"}"'.ljust(40) + "  # aserve.toml:1",
        'symlinks = "all"                          # aserve.toml:2',
        'title = "x"                               # --title',
    ]
    link = "a link can lead to any file that the server may read"
    assert errors == [f"aserve: warning: aserve.toml:2: symlinks: {link}"]


@pytest.mark.parametrize("has_color", [True, False])
def test_defaults_are_dim_on_a_terminal(check, monkeypatch, has_color: bool) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    if has_color:
        monkeypatch.delenv("NO_COLOR")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    _, lines, _ = check("site", "--title", "x")
    (host,) = [line for line in lines if "host = " in line]
    (title,) = [line for line in lines if "title = " in line]
    assert (host[:4], title[:5]) == ("\x1b[2m" if has_color else "host", "title")


def test_an_error_is_one_line_and_exit_code_2(here: Path, check) -> None:
    (here / "aserve.toml").write_text("\nprot = 80")
    message = "aserve.toml:2: prot: there is no such key; did you mean port?"
    assert check() == (2, [], [f"aserve: error: {message}"])
    assert check("--config", "off", "nowhere")[::2] == (
        2,
        ["aserve: error: DIR: there is no directory or file 'nowhere'"],
    )


def test_a_directory_named_check_can_be_served(here: Path, monkeypatch) -> None:
    (here / "check").mkdir()
    called = []
    module = sys.modules[main.__module__]
    monkeypatch.setattr(module, "_parse_and_call", lambda *given: called.append(given) or 0)
    monkeypatch.setattr(serving, "serve_site", lambda *given: called.append(given) or 0)
    for arguments in (["check"], ["check", "."], ["./check"]):
        with pytest.raises(SystemExit):
            main(arguments)
    assert called == [
        (["check"], {}),
        ("check", ["."], "aserve check"),
        (["./check"], {}),
    ]


def test_a_folder_that_is_only_for_this_machine_has_no_warnings(here: Path) -> None:
    assert warnings_of("site") == []
    assert warnings_of("site", write=["/"], allow_connect=["a:1"], live=True) == []
    assert warnings_of("site", limits=["header-timeout=unlimited"], host="127.0.0.1") == []
    trusted = {"proxy_trust": ["127.0.0.1", "unix", "::/0"], "deny": ["::1"], "hsts": "60"}
    assert warnings_of("site", allowed_hosts="a.example", **trusted) == []
    assert warnings_of("site", cors="*", host="unix:a.sock") == []


def test_a_unix_socket_for_everyone_is_a_warning(here: Path) -> None:
    (warning,) = warnings_of("site", host="unix:a.sock,mode=666")
    assert warning == "--host: everyone on this machine may connect to a.sock"


def test_lines_of_rules_that_cannot_be_followed_are_warnings(here: Path) -> None:
    (here / "site" / "_redirects").write_text("/a /b\n/c /d 302 Country=de\n")
    (warning,) = warnings_of("site")
    assert warning.startswith("--rules: _redirects:2: the condition Country is never fulfilled")
    assert warnings_of("site", rules="off") == []
    many = MAX_REPORTED + 1  # a server reports no more than this at its start
    (here / "site" / "_redirects").write_text("/c /d 302 Country=de\n" * many)
    assert len(warnings_of("site")) == many


SLOW = "slow clients can hold all connections for ever"


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        ({"spa": "a.html"}, "--spa: there is no file 'a.html' to be sent"),
        ({"error_page": ["5xx=x"]}, "--error-page: there is no file 'x' to be sent"),
        ({"write": ["/no"]}, "--write: there is no folder /no/"),
        ({"host": "a..b"}, "--host: 'a..b' is not a valid host name"),
        ({"host": "0.0.0.0", "write": ["/"]}, f"--write: {exposure.NO_LOGIN}"),
        ({"lan": True}, f"--lan: {exposure.OPEN}"),
        (
            {"host": "0.0.0.0", "proxy_trust": ["10.0.0.0/8", "unix", "0.0.0.0/0"]},
            "--proxy-trust: 0.0.0.0/0: every client there can say that it is another one",
        ),
        (
            {"deny": ["192.0.2.0/24"]},
            "--deny: clients behind a proxy on this machine have its address: --proxy-trust",
        ),
        (
            {"allowed_hosts": "a.test,a.example"},
            (
                "--proxy-trust: clients of a.example come by a proxy, whose address they all have"
                " without this"
            ),
        ),
        (
            {"auth": ["ann:a"]},
            "--auth: everyone on this machine can see it in the list of processes: ASERVE_AUTH",
        ),
        (
            {"readers": "nobody", "writers": "anyone"},
            "--writers: has no effect where nothing can be written to",
        ),
        (
            {"host": "::", "allow_connect": ["a:1"]},
            "--allow-connect: everyone who can reach this server can reach a:1 through it",
        ),
        (
            {"host": "0.0.0.0", "live": True},
            "--live: is for development: it adds a script to every page",
        ),
        (
            {"host": "0.0.0.0", "limits": ["header-timeout=0"]},
            f"--limit: header-timeout: {SLOW}",
        ),
        (
            {"host": "0.0.0.0", "limits": ["transfer-timeout=0"]},
            f"--limit: transfer-timeout: {SLOW}",
        ),
        (
            {"host": "0.0.0.0", "limits": ["min-rate=0"]},
            "--limit: min-rate: clients that hardly read can hold all connections for ever",
        ),
        (
            {"cors": "*"},
            "--cors: any page on the web that this machine's browser opens can read these files",
        ),
        (
            {"cors": "https://a.test", "write": ["/"]},
            "--cors: pages of https://a.test may change files as well",
        ),
        (
            {"cache": "3600"},
            "--cache: a page that changes is not seen for up to 3,600 seconds",
        ),
        ({"symlinks": "all"}, "--symlinks: a link can lead to any file that the server may read"),
        ({"dotfiles": True}, "--dotfiles: what begins with a dot is often not meant for others"),
        (
            {"hide": ["index.*"]},
            "--hide: hides 'index.html', so that no folder has this index",
        ),
        (
            {"headers": ["/a X: 1", "/a%20b X: 1", "/a%2Fb X: 1"]},
            "--header: /a%20b has '%20', but paths are compared as they are decoded",
        ),
        ({"access_log": "site/log"}, "--access-log: is served at /log"),
        ({"access_log": "site"}, "--access-log: cannot write 'site': the server does not start"),
        (
            {"access_log": "no/log"},
            "--access-log: cannot write 'no/log': the server does not start",
        ),
        (
            {"listing": "off", "page_size": "5"},
            "--page-size: has no effect where no folder is listed",
        ),
        (
            {"spa": "index.html", "title": "x"},
            "--title: has no effect where no folder is listed",
        ),
        (
            {"archive": "off", "archive_max_bytes": "5"},
            "--archive-max-bytes: has no effect where there are no archives",
        ),
        (
            {"allow_trace": True},
            "--allow-trace: echoes what a client sends; it is only good for tests",
        ),
        (
            {"rate": "100/m:19"},
            "--rate: a browser that loads a page may send more than 19 requests at once",
        ),
        ({"workers": "1000"}, "--workers: 1000 processes share 3 CPUs"),
        (
            {"limits": ["max-connections=999999999"]},
            "--limit: max-connections: 999999999, but the system allows 5000 open files",
        ),
        (
            {"limits": ["max-body=unlimited"]},
            "--limit: max-body: a body that is not wanted is read to its end, however long",
        ),
        (
            {"write": ["/"], "fsync": True},
            "--no-fsync: an upload that was answered is lost if the power fails soon after",
        ),
        (
            {"write": ["/"], "min_free": "0"},
            "--min-free: uploads can fill the disk, which stops more than uploads",
        ),
        (
            {"write": ["/"], "min_free": "2G"},
            "--min-free: less is free at /: every upload is answered 507",
        ),
    ],
)
def test_each_warning(here: Path, monkeypatch, options: dict[str, object], warning: str) -> None:
    monkeypatch.setattr(setting_warnings, "available_cpus", lambda: 3)
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (1_000, 5_000))
    assert warnings_of("site", **options) == [warning]


@pytest.mark.parametrize(
    ("arguments", "warnings"),
    [
        (["/"], ["DIR: is the whole file system"]),
        (["a=/", "site"], ["DIR: /a: is the whole file system"]),
        (["home"], ["DIR: is your home directory"]),
        (["other"], ["DIR: is a home directory: .ssh is in it"]),
        (["configured"], ["DIR: its aserve.toml is not used: use --config {here}/aserve.toml"]),
    ],
)
def test_each_warning_about_what_is_served(
    here: Path, monkeypatch, arguments: list[str], warnings: list[str]
) -> None:
    (here / "home").mkdir()
    (here / "other" / ".ssh").mkdir(parents=True)
    (here / "configured").mkdir()
    (here / "configured" / "aserve.toml").touch()
    monkeypatch.setenv("HOME", "~")  # as os.path.expanduser has it of a user without an account
    assert warnings_of("other") == ["DIR: is a home directory: .ssh is in it"]
    monkeypatch.setenv("HOME", str(here / "home"))
    expected = [warning.format(here=here / "configured") for warning in warnings]
    assert [one for one in warnings_of(*arguments) if one.startswith("DIR")] == expected
    assert warnings_of("configured", config="configured/aserve.toml") == []


LOGINS = "[[path]]\nmatch='/p/*'\nreaders=['ann']\n[[site]]\nhosts='a.test'\nroot='site'\n"


def test_no_password_is_printed(here: Path, check) -> None:
    (here / "aserve.toml").write_text(
        f"root='site'\nauth = ['ann:topsecret', 'ben:topsecret']\n{LOGINS}auth='carl:topsecret'\n"
    )
    code, lines, errors = check()
    assert code == 0
    assert "topsecret" not in "".join((*lines, *errors))
    assert any('"ben:..."' in line for line in lines)
    assert any('["carl:..."]' in line for line in lines)
    for wrong in ("auth = {ann = 'topsecret'}", "auth = ['topsecret']", "auth = [7, 'topsecret']"):
        (here / "aserve.toml").write_text(f"root='site'\n{wrong}\n")
        code, lines, errors = check()
        assert (code, len(errors)) == (2, 1)
        assert "aserve.toml:2: auth: " in errors[0]
        assert "topsecret" not in errors[0]


def test_warnings_about_logins_that_others_can_reach(here: Path) -> None:
    file = here / "users"
    file.write_text(f"ann:{BCRYPT}\n")
    options = {"host": "0.0.0.0", "write": ["/"], "htpasswd": "users"}
    assert warnings_of("site", **options) == [f"--htpasswd: {exposure.NO_TLS}"]
    found = warnings_of("site", **options, writers="anyone")
    assert found[0] == f"--write: {exposure.NO_LOGIN}"
    file.chmod(0o666)
    everyone = "--htpasswd: everyone on this machine may change users"
    assert everyone in warnings_of("site", htpasswd="users")
    open_to_all = warnings_of("site", htpasswd="users", readers="anyone", writers="anyone")
    assert "--htpasswd: has no effect: anyone may read and write" in open_to_all


def test_a_wrong_line_of_a_password_file_is_one_line(here: Path, check) -> None:
    (here / "users").write_text(f"ann:{BCRYPT}\nben:$apr1$x$y\n")
    code, lines, errors = check("--htpasswd", "users", "site")
    assert (code, lines) == (2, [])
    assert errors == [
        "aserve: error: --htpasswd: users:2: hashes of MD5 are not accepted: use bcrypt or argon2id"
    ]


def test_a_line_is_made_of_a_password(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("pass word\nmore\n"))
    monkeypatch.setattr(passwords, "_ARGON2_KIB", 8)
    with pytest.raises(SystemExit) as exit_info:
        main(["passwd", "ann"])
    line = capsys.readouterr().out
    assert exit_info.value.code == 0
    assert line.startswith("ann:$argon2id$")
    assert Logins([line.rstrip("\n")]).check(b"ann", b"pass word")


@pytest.mark.parametrize(
    ("typed", "error"), [(["a", "b"], "the passwords are not the same"), (["", ""], "no password")]
)
def test_a_password_is_typed_twice_and_not_shown(monkeypatch, capsys, typed, error) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(getpass, "getpass", lambda _prompt: typed.pop(0))
    with pytest.raises(SystemExit) as exit_info:
        main(["passwd", "ann"])
    assert exit_info.value.code == 2
    assert error in capsys.readouterr().err


def test_each_warning_about_the_file(here: Path) -> None:
    (here / "site" / "my.toml").touch()
    assert warnings_of("site", config="site/my.toml") == [
        "--config: site/my.toml is served at /my.toml"
    ]
    (here / "aserve.toml").touch(0o666)
    (here / "aserve.toml").chmod(0o666)
    assert warnings_of("site") == ["--config: everyone on this machine may change aserve.toml"]


def test_no_answer_of_a_resolver_is_needed_for_an_address(here: Path, monkeypatch) -> None:
    def resolve(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert warnings_of("site", host="localhost") == []
    assert warnings_of("site", host="nowhere.invalid") == [
        "--host: 'nowhere.invalid' has no address: unknown"
    ]


def decided(lines: list[str]) -> list[str]:
    """Return what decided, without the head of the response, each line with single spaces."""
    return [" ".join(line.split()) for line in lines if line.startswith("  ") and line[2].islower()]


VALIDATED = "cache no-cache: validated before each use default"
KEPT = "memory the response is kept until something on its path changes"
CODED = "coding zstd: the client accepts it, and it is compressed while it is served"
NOT_KEPT = "memory the response is not kept: each request is answered anew"
SPA = "nothing is there, so a navigation gets /index.html, if that is there --spa"


@pytest.mark.parametrize(
    ("arguments", "status", "notes"),
    [
        (["/"], "200 OK", ["file {site}/index.html", VALIDATED, KEPT]),
        (["http://a.test:80/a.txt?b"], "200 OK", ["file {site}/a.txt", VALIDATED, KEPT]),
        (
            ["/a.txt", "--cache", "no-store"],
            "200 OK",
            [
                "file {site}/a.txt",
                "cache no-store: never kept --cache",
                "header Cache-Control: no-store --cache",
                KEPT,
            ],
        ),
        (
            ["/sub"],
            "301 Moved Permanently",
            ["error 301: The URL of a directory ends with a slash.", NOT_KEPT],
        ),
        (["/no"], "404 Not Found", ["error 404: Nothing is here.", CODED, NOT_KEPT]),
        (
            ["/x.bak", "--hide", "a", "--hide", "*.bak"],
            "404 Not Found",
            ["access hidden by *.bak --hide", "error 404: Nothing is here.", CODED, NOT_KEPT],
        ),
        (
            ["/.env"],
            "404 Not Found",
            [
                "access hidden: such names are never served",
                "error 404: Nothing is here.",
                CODED,
                NOT_KEPT,
            ],
        ),
        (
            ["/.x"],
            "404 Not Found",
            [
                "access hidden: a name begins with a dot default",
                "error 404: Nothing is here.",
                CODED,
                NOT_KEPT,
            ],
        ),
        (["/route", "--spa"], "200 OK", [f"rule {SPA}", "file {site}/index.html", NOT_KEPT]),
        (
            ["/route", "--spa", "--request-header", "sec-fetch-mode: cors"],
            "404 Not Found",
            [
                "rule nothing is there, and only a navigation would get /index.html --spa",
                "error 404: Nothing is here.",
                CODED,
                NOT_KEPT,
            ],
        ),
        (
            ["/folder/"],
            "200 OK",
            ["rule a folder without an index: it is listed", CODED, NOT_KEPT],
        ),
        (
            ["/folder/", "--listing", "off"],
            "404 Not Found",
            [
                "rule a folder without an index: it is not listed",
                "error 404: Nothing is here.",
                CODED,
                NOT_KEPT,
            ],
        ),
        (
            ["/app.js"],
            "200 OK",
            [
                "file {site}/app.js.br",
                "coding br: the client accepts it, and this file is there",
                VALIDATED,
                KEPT,
            ],
        ),
        (
            ["/app.js", "--request-header", "Accept-Encoding: gzip"],
            "200 OK",
            ["file {site}/app.js", VALIDATED, KEPT],
        ),
        (
            ["/no", "--error-page", "404=sub/index.html"],
            "404 Not Found",
            [
                "error 404: Nothing is here.",
                "error its page is /sub/index.html --error-page",
                NOT_KEPT,
            ],
        ),
        (
            ["/sub/no", "--urls", "netlify"],
            "404 Not Found",
            ["error 404: Nothing is here.", CODED, NOT_KEPT],
        ),
        (
            ["/ü b"],
            "404 Not Found",
            ["error 404: Nothing is here.", CODED, NOT_KEPT],
        ),
        (
            ["/%00"],
            "400 Bad Request",
            ["error 400: The request target contains a NUL character.", CODED, NOT_KEPT],
        ),
        (
            ["/", "--limit", "max-request-line=5"],
            "414 URI Too Long",
            ["error 414: The request line is too long.", NOT_KEPT],
        ),
    ],
)
def test_what_decides_a_response(
    directory: Path, check, arguments: list[str], status: str, notes: list[str]
) -> None:
    (directory / "folder").mkdir()
    (directory / "app.js").write_text("one")
    (directory / "app.js.br").write_text("1")
    code, lines, errors = check("site", "--explain", *arguments)
    assert (code, errors) == (0, [])
    assert status in lines
    assert decided(lines) == [note.format(site=directory) for note in notes]


def test_a_file_that_is_compressed_is_kept_once_its_best_level_is_made(here: Path, check) -> None:
    path = here / "site/large.txt"
    path.write_text("one line\n" * 1_000)
    _, lines, _ = check("site", "--explain", "/large.txt")
    kept = "memory the response is kept once the best level is made"
    cached = "cache no-cache: validated before each use default"
    assert decided(lines) == [f"file {path}", CODED, cached, kept]


def test_the_page_of_an_error_is_named(here: Path, directory: Path, check) -> None:
    (directory / "404.html").write_text("lost")
    _, lines, _ = check("site", "--explain", "http://a.test:8000/sub/no")
    assert lines[0] == "GET /sub/no of a.test:8000"
    assert "error the nearest 404.html is its page" in decided(lines)
    assert lines[-1] == "  Content-Length: 4"


def test_the_place_of_a_rule_in_a_file_is_its_line(here: Path, check) -> None:
    (here / "aserve.toml").write_text("hide = [\n 'a',\n '*.bak',\n]")
    _, lines, _ = check("--explain", "/x.bak")
    assert decided(lines)[0] == "access hidden by *.bak aserve.toml:3"


def test_headers_are_told_with_the_lines_that_set_them(here: Path, check) -> None:
    (here / "aserve.toml").write_text(
        "root = 'site'\n"
        "cache = 60\n"
        "isolate = true\n"
        "cors = ['https://a.test']\n"
        "[header.'/*']\n"
        "X-A = '1'\n"
        "[header.'*.txt']\n"
        "X-A = ''\n"
        "X-B = '2'\n"
        "[header.'/sub/*']\n"
        "X-C = '3'\n"
    )
    arguments = ("--explain", "/a.txt", "--request-header", "Origin: https://a.test")
    _, lines, _ = check(*arguments)
    assert decided(lines) == [
        f"file {here / 'site/a.txt'}",
        "cache max-age=60 aserve.toml:2",
        "header Cross-Origin-Opener-Policy: same-origin aserve.toml:3",
        "header Cross-Origin-Embedder-Policy: require-corp aserve.toml:3",
        "header Cross-Origin-Resource-Policy: cross-origin aserve.toml:3",
        "header pages of https://a.test may read it aserve.toml:4",
        "header X-A: 1 aserve.toml:6",
        "header X-B: 2, no X-A aserve.toml:8, aserve.toml:9",
        "memory the response is kept until something on its path changes",
    ]
    assert "  X-B: 2" in lines
    _, lines, _ = check("--explain", "/a.txt")
    assert "header no pages of other sites may read it aserve.toml:4" in decided(lines)


def test_explain_says_what_decided_the_response_that_it_shows(directory: Path, capsys) -> None:
    server = ServerOptions("epoll")
    explain._print_decision(explain._settings(directory, server), "/sub")
    assert decided(capsys.readouterr().out.splitlines()) == [
        "error 301: The URL of a directory ends with a slash.",
        NOT_KEPT,
    ]


SITES = """
[[path]]
match = "/assets/*"
listing = "off"

[[site]]
hosts = ["a.test"]
root = "site/sub"
spa = true

[[site]]
hosts = "b.test"
root = {"/" = "site", x = "site/sub"}

[[site.path]]
match = "/x/*"
page-size = 5
"""


def test_what_is_printed_of_sites_can_be_read_elsewhere(here: Path, check) -> None:
    text = f"root = 'site'{SITES}"
    (here / "aserve.toml").write_text(text)
    code, lines, _ = check()
    assert (code, "[[site]]" in " ".join(lines)) == (0, True)
    printed = "\n".join(lines)
    (here / "other").mkdir()
    (here / "other" / "printed.toml").write_text(printed)
    for one in (text, printed):
        SCHEMA.validate(tomllib.loads(one))
    first, second = (
        read_configuration((), {"config": name}, {}).settings
        for name in ("aserve.toml", "other/printed.toml")
    )
    assert second == first


def test_a_file_of_sites_alone_can_be_read_again(here: Path, check) -> None:
    (here / "aserve.toml").write_text(
        SITES.partition("[[site]]")[1] + SITES.partition("[[site]]")[2]
    )
    _, lines, _ = check()
    (here / "printed.toml").write_text("\n".join(lines))
    first, second = (
        read_configuration((), {"config": name}, {}).settings
        for name in ("aserve.toml", "printed.toml")
    )
    assert (second, second.root) == (first, {})


@pytest.mark.parametrize("url", ["", "a.test", "ftp://a.test/", "http://[::1", "http://ü ü/"])
def test_what_cannot_be_asked_is_one_line(check, url: str) -> None:
    code, lines, errors = check("--explain", url)
    assert (code, lines, len(errors)) == (2, [], 1)
    assert errors[0].startswith("aserve: error: --explain: ")


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("http://me:x@Bücher.test:80/#top", "GET / of xn--bcher-kva.test:80"),
        ("http://[::1]:80/?#x", "GET / of [::1]:80"),
        ("/a.txt?x=1#y", "GET /a.txt?x=1 of localhost"),
    ],
)
def test_a_url_is_asked_for_as_a_browser_does(check, url: str, line: str) -> None:
    _, lines, _ = check("--explain", url)
    assert lines[0] == line


@pytest.mark.parametrize(
    ("url", "first"),
    [
        ("/", "host of no other site: {here}/site default"),
        ("http://A.test:8000/", "host of a.test: {here}/site/sub aserve.toml:7"),
        ("http://b.test/x/", "host of b.test: {here}/site and 1 more aserve.toml:12"),
    ],
)
def test_the_host_decides_which_site_answers(here: Path, check, url: str, first: str) -> None:
    (here / "aserve.toml").write_text(f"root = 'site'{SITES}")
    _, lines, _ = check("--explain", url)
    assert decided(lines)[0] == first.format(here=here)
