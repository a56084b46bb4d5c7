"""The certificate of the authority, for phones that are to trust it: and nothing else of it."""

import hashlib
import re
import ssl
from pathlib import Path

import pytest

import aserve
from aserve.cli.main import main
from aserve.config.settings import Settings, SettingsError
from tests.aserve import programs
from tests.aserve.tls.test_serving import ask, ask_plainly

PATH = "/.aserve/ca.pem"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of data of this user."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    return tmp_path / "xdg" / "aserve"


def address_of(server: aserve.Server) -> tuple[str, int]:
    return "127.0.0.1", int(server.url.split(":")[2].strip("/"))


def split(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    return int(first.split()[1]), dict(line.lower().split(": ", 1) for line in lines), body


def request(path: str, method: str = "GET", host: str = "localhost") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()


def test_it_is_sent_by_http_and_by_https(directory: Path, data: Path) -> None:
    with aserve.Server(directory, host="127.0.0.1", https=True, share_ca=True) as server:
        address = address_of(server)
        status, headers, body = split(ask_plainly(address, request(PATH)))
        assert (status, headers["content-type"]) == (200, "application/x-x509-ca-cert")
        assert headers["cache-control"] == "no-cache"
        assert headers["x-content-type-options"] == "nosniff"
        assert body == (data / "authority.pem").read_bytes()
        assert body.startswith(b"-----BEGIN CERTIFICATE-----")
        assert b"PRIVATE" not in body
        context = ssl.create_default_context(cadata=body.decode())
        response, encrypted = ask(address, context, target=PATH)
        assert (response.status, encrypted) == (200, body)
        assert ask(address, context)[1] == b"alpha"


def test_head_and_other_methods(directory: Path, data: Path) -> None:
    with aserve.Server(directory, host="127.0.0.1", https=True, share_ca=True) as server:
        address = address_of(server)
        status, headers, body = split(ask_plainly(address, request(PATH, "HEAD")))
        assert (status, body) == (200, b"")
        assert int(headers["content-length"]) == (data / "authority.pem").stat().st_size
        status, headers, _ = split(ask_plainly(address, request(PATH, "DELETE")))
        assert (status, headers["allow"]) == (405, "get, head, options")


def test_everything_else_is_still_redirected(directory: Path, data: Path) -> None:
    with aserve.Server(directory, host="127.0.0.1", https=True, share_ca=True) as server:
        for path in ("/a.txt", "/.aserve/", f"{PATH}/", f"{PATH}?", "/.aserve/ca.key", f"/.{PATH}"):
            status, headers, _ = split(ask_plainly(address_of(server), request(path)))
            assert (status, headers["location"][:8]) == (308, "https://"), path


def test_it_needs_no_login_and_no_host_of_ours_but_an_address_that_is_served(
    directory: Path, data: Path
) -> None:
    common = {"host": "127.0.0.1", "https": True, "share_ca": True}
    closed = {"auth": ("ann:secret",), "allowed_hosts": ("local",)}
    with aserve.Server(directory, **common, **closed) as server:
        answer = ask_plainly(address_of(server), request(PATH, host="192.168.1.20"))
        assert split(answer)[0] == 200
        answer = ask_plainly(address_of(server), request(PATH, host="box.test"))
        assert split(answer)[0] == 200
    with aserve.Server(directory, **common, deny=("127.0.0.0/8",)) as server:
        status, _, body = split(ask_plainly(address_of(server), request(PATH)))
        assert status == 403
        assert b"CERTIFICATE" not in body


def test_without_the_option_it_is_not_there(directory: Path, data: Path) -> None:
    with aserve.Server(directory, host="127.0.0.1", https=True) as server:
        address = address_of(server)
        assert split(ask_plainly(address, request(PATH)))[0] == 308
        context = ssl.create_default_context(cafile=str(data / "authority.pem"))
        assert ask(address, context, target=PATH)[0].status == 404


def test_it_is_the_one_that_is_there_now(directory: Path, data: Path) -> None:
    with aserve.Server(directory, host="127.0.0.1", https=True, share_ca=True) as server:
        address = address_of(server)
        for _ in range(3):
            assert split(ask_plainly(address, request(PATH)))[0] == 200
        (data / "authority.pem").unlink()
        assert split(ask_plainly(address, request(PATH)))[0] == 404


def test_it_needs_an_authority_of_ours(directory: Path) -> None:
    with pytest.raises(SettingsError, match="share_ca: has no effect without https"):
        Settings(directory, share_ca=True)


def test_the_program_says_where_it_is_and_what_to_compare(directory: Path, data: Path) -> None:
    options = ("--port=0", "--host=127.0.0.1", "--https", "--share-ca")
    process = programs.start(*options, directory)
    try:
        assert process.stderr
        lines = list(iter(process.stderr.readline, "  stop   Ctrl-C\n"))
    finally:
        process.close()
    *others, trust, first, second = lines
    port = re.search(r"open   https://127.0.0.1:(\d+)/", "".join(others))[1]
    assert trust == f"  trust  http://127.0.0.1:{port}{PATH}\n"
    said = re.findall(r"\b[0-9A-F]{2}\b", first + second)
    der = ssl.PEM_cert_to_DER_cert((data / "authority.pem").read_text())
    assert bytes.fromhex("".join(said)) == hashlib.sha256(der).digest()
    assert max(len(first), len(second)) <= 80


def test_check_explains_the_path(
    directory: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["check", "--https", "--share-ca", "--explain", PATH, str(directory)])
    assert "--share-ca" in capsys.readouterr().out
