"""Clients that log in by HTTPS: what they do with a right login, a wrong one, and without trust."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients.https_places import KINDS, PASSWORD, USER, WRONG, Place, place
from tests.clients.running import program, run

pytestmark = pytest.mark.slow  # it needs other programs

FILE = "folder/ä b.txt"
TARGET = "folder/%C3%A4%20b.txt"
CONTENT = "for those who may read it"
REFUSAL = "The user name or the password is wrong."
NO_LOGIN = "This needs a user name and a password."
OF_WGET = "Username/Password Authentication Failed."  # it shows no page of a 401


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("logins") / "root"
    (root / "folder").mkdir(parents=True)
    (root / FILE).write_text(CONTENT)
    return root


@pytest.fixture(scope="module", params=KINDS)
def secure(
    request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    with place(request.param, folder, tmp_path_factory.mktemp("place")) as running:
        yield running


def _curl(url: str, user: str, password: str) -> list[str | Path]:
    given = ["--user", f"{user}:{password}"] if user else []
    return [program("curl"), "-q", "-sS", "-m", "20", "-w", "\n%{http_code}", *given, url]


def _curl_with_netrc(url: str, user: str, password: str) -> list[str | Path]:
    if not user:
        return _curl(url, user, password)
    script = 'printf "machine localhost login %s password %s" "$1" "$2" | \
        exec "$0" -q -sS -m 20 -w "\\n%{http_code}" --netrc-file /dev/stdin "$3"'
    return ["sh", "-c", script, program("curl"), user, password, url]


def _wget(url: str, user: str, password: str) -> list[str | Path]:
    given = [f"--user={user}", f"--password={password}"] if user else []
    trust = (
        '[ -z "$SSL_CERT_FILE" ] || set -- --ca-certificate="$SSL_CERT_FILE" "$@"; exec "$0" "$@"'
    )
    usual = ["--no-config", "--no-hsts", "--tries=1", "-O", "-", "-nv", "-S"]
    return ["sh", "-c", trust, program("wget"), *usual, *given, url]


def _python(script: str) -> Callable[[str, str, str], list[str | Path]]:
    code = f"import sys\nurl, user, password = sys.argv[1:]\n{script}"
    return lambda *arguments: [sys.executable, "-c", code, *arguments]


def _node(script: str) -> Callable[[str, str, str], list[str | Path]]:
    code = f"const [url, user, password] = process.argv.slice(1);\n{script}"
    return lambda *arguments: [program("node"), "-e", code, "--", *arguments]


CLIENTS = {
    "curl": _curl,
    "curl with .netrc": _curl_with_netrc,
    "wget": _wget,
    "urllib": _python("""
from urllib.error import HTTPError
from urllib.request import HTTPBasicAuthHandler, HTTPPasswordMgrWithDefaultRealm, build_opener
passwords = HTTPPasswordMgrWithDefaultRealm()
if user:
    passwords.add_password(None, url, user, password)
try:
    response = build_opener(HTTPBasicAuthHandler(passwords)).open(url, timeout=20)
except HTTPError as error:
    response = error
print(response.status, response.read().decode())
"""),
    "httpx": _python("""
import httpx
response = httpx.get(url, auth=(user, password) if user else None, timeout=20)
print(response.status_code, response.text)
"""),
    "requests": _python("""
import requests
response = requests.get(url, auth=(user, password) if user else None, timeout=20)
print(response.status_code, response.text)
"""),
    "fetch of Node": _node("""
const login = Buffer.from(`${user}:${password}`).toString("base64");
const headers = user ? { Authorization: `Basic ${login}` } : {};
fetch(url, { headers }).then(async (response) => {
    console.log(response.status, await response.text());
});
"""),
    "https of Node": _node("""
require("https").get(url, user ? { auth: `${user}:${password}` } : {}, async (response) => {
    console.log(response.statusCode, (await response.toArray()).join(""));
});
"""),
}

EVERY_CLIENT = pytest.mark.parametrize("client", CLIENTS)


def fetch(
    client: str, secure: Place, user: str = "", password: str = "", *, trusts: bool = True
) -> str:
    """Return all that a client prints of a file."""
    command = CLIENTS[client](f"{secure.url}{TARGET}", user, password)
    ended = run(*command, environment=secure.trust if trusts else {})
    return ended.stdout + ended.stderr


@EVERY_CLIENT
def test_the_right_login_gets_the_file(secure: Place, client: str) -> None:
    for _ in range(2):
        shown = fetch(client, secure, USER, PASSWORD)
        assert CONTENT in shown
        assert "200" in shown


@EVERY_CLIENT
def test_a_wrong_login_is_told_so(secure: Place, client: str) -> None:
    shown = fetch(client, secure, USER, WRONG)
    assert CONTENT not in shown
    assert "401" in shown
    assert (OF_WGET if client == "wget" else REFUSAL) in shown


@EVERY_CLIENT
def test_without_a_login_one_is_asked_for(secure: Place, client: str) -> None:
    shown = fetch(client, secure)
    assert CONTENT not in shown
    assert "401" in shown
    assert (OF_WGET if client == "wget" else NO_LOGIN) in shown


@EVERY_CLIENT
def test_who_does_not_trust_the_authority_sends_no_login(secure: Place, client: str) -> None:
    shown = fetch(client, secure, USER, PASSWORD, trusts=False)
    assert CONTENT not in shown
    assert "certificate" in shown.lower()
    assert REFUSAL not in shown
