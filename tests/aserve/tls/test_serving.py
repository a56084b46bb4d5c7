"""HTTPS over real sockets: what clients get, and what clients that speak no TLS or no more get."""

import asyncio
import base64
import hashlib
import http.client
import logging
import queue
import socket
import ssl
import subprocess
import sys
from contextlib import suppress

import pytest

from aserve.cache.keys import KeyedOn
from aserve.cache.response_cache import ResponseCache
from aserve.cli.main import main
from aserve.config.settings import Settings
from aserve.filesystem.directory import Directory
from aserve.handlers.handler import RequestContext
from aserve.http.messages import Request, Response
from aserve.http1.limits import Limits
from aserve.policies.https import HttpsOnly
from aserve.policies.policy import Policy
from aserve.policies.site import Site
from aserve.server.certificates import open_certificates
from aserve.server.listeners import listen
from aserve.tls.certificates import new_context
from aserve.transport.eventloop.server import EventLoopServer
from aserve.transport.eventloop.thread_pool import PoolSize
from tests.aserve import programs
from tests.aserve.tls.issuing import issue
from tests.marks import slow

MODELS = pytest.mark.parametrize("model", ["simulated-proactor", "asyncio"])
TIMEOUT = 30  # seconds, of which no test takes more than one


class Told(Policy):
    """Says in each response which facts of its connection it sees."""

    keyed_on = KeyedOn(scheme=True, server_name=True)

    def finish(self, request: Request, context: RequestContext, response: Response) -> Response:
        told = ("Told", f"{context.scheme} {context.server_name}")
        return response.with_headers((*response.headers, told))


def connect(address, context, host="localhost"):
    """Return a connection of a client after its handshake."""
    raw = socket.create_connection(address, TIMEOUT)
    try:
        return context.wrap_socket(raw, server_hostname=host)
    except BaseException:
        raw.close()
        raise


def ask(address, context, method="GET", target="/a.txt", host="localhost", **options):
    """Send one request by TLS; return the response and its body."""
    connection = http.client.HTTPSConnection(host, address[1], context=context, timeout=TIMEOUT)
    with connect(address, context, host) as connection.sock:
        connection.request(method, target, **options)
        response = connection.getresponse()
        return response, response.read()


def ask_plainly(address, request):
    """Send a request without TLS; return all that is answered, until the connection ends."""
    with socket.create_connection(address, TIMEOUT) as client:
        client.sendall(request)
        return b"".join(iter(lambda: client.recv(65_536), b""))


@MODELS
def test_files_arrive_whole_and_by_modern_tls(start, trusting, directory, large_file, model):
    _, address = start(model=model)
    for _ in range(3):  # the second one is cached
        response, body = ask(address, trusting)
        assert (response.status, body) == (200, (directory / "a.txt").read_bytes())
    _, body = ask(address, trusting, target=f"/{large_file.name}")
    assert hashlib.sha256(body).digest() == hashlib.sha256(large_file.read_bytes()).digest()


async def test_policies_see_the_scheme_and_the_name(directory, certificates, trusting):
    """On one event loop after the other."""
    pairs = issue(certificates, "a", ("a.test",)), issue(certificates, "b", ("b.test",))
    files = {"cert": tuple(one.cert for one in pairs), "key": tuple(one.key for one in pairs)}
    settings = Settings(directory, "127.0.0.1", port=0, **files)
    server = EventLoopServer(
        Site.of_files(Directory(directory), [Told()]),
        settings.limits,
        PoolSize(1, 1),
        cache=ResponseCache(),
        certificates=open_certificates(settings),
    )
    ((listener,),) = listen(settings)
    address = listener.getsockname()
    await server.start([listener])
    for host in ("b.test", "a.test", "b.test", "a.test"):  # the second time from the cache
        response, _ = await asyncio.to_thread(ask, address, trusting, host=host)
        assert response.headers["Told"] == f"https {host}"
    plain = b"GET /a.txt HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
    assert b"\r\nTold: http \r\n" in await asyncio.to_thread(ask_plainly, address, plain)
    await server.stop(0)


def shown_names(address, name):
    """Return the names of the certificate that a client is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with connect(address, context, name) as client:
        return client.getpeercert(binary_form=True)


@MODELS
def test_clients_get_the_certificate_of_the_name_that_they_ask_for(
    start, pair, certificates, model
):
    a = issue(certificates, "a", ("a.test", "*.a.test"))
    b = issue(certificates, "b", ("b.test",))
    _, address = start(model=model, cert=(pair.cert, a.cert, b.cert), key=(pair.key, a.key, b.key))

    def der(one):
        with open(one.cert) as file:
            return ssl.PEM_cert_to_DER_cert(file.read())

    asked = {
        None: pair,
        "localhost": pair,
        "a.test": a,
        "WWW.A.test": a,
        "deep.www.a.test": pair,  # a wildcard is one label: RFC 6125 section 6.4.3
        "b.test": b,
        "c.test": pair,
    }
    for name, expected in asked.items():
        assert shown_names(address, name) == der(expected), name


def test_old_versions_and_ciphers_without_forward_secrecy_are_refused(start, trusting):
    _, address = start()
    with connect(address, trusting) as client:
        assert client.version() == "TLSv1.3"
        assert client.compression() is None
    trusting.set_alpn_protocols(["h2", "http/1.1"])
    trusting.maximum_version = ssl.TLSVersion.TLSv1_2
    with connect(address, trusting) as client:
        assert client.selected_alpn_protocol() == "http/1.1"
        assert client.cipher()[0].startswith("ECDHE-")
    for ciphers in ("AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256"):
        trusting.set_ciphers(ciphers)
        with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):  # the alert has arrived
            connect(address, trusting)


def test_a_client_cannot_renegotiate_nor_speak_tls_1_1(start, trusting):
    _, address = start()
    trusting.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    trusting.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        trusting.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
        connect(address, trusting)
    assert ssl.OP_NO_RENEGOTIATION in new_context().options


@MODELS
def test_a_connection_that_the_server_closes_ends_with_close_notify(start, trusting, model):
    _, address = start(model=model)
    raw = socket.create_connection(address, TIMEOUT)
    with trusting.wrap_socket(
        raw, server_hostname="localhost", suppress_ragged_eofs=False
    ) as client:
        client.sendall(b"GET /a.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        received = b"".join(iter(lambda: client.recv(65_536), b""))
    assert received.startswith(b"HTTP/1.1 200 ")


@MODELS
def test_uploads_come_by_tls(start, trusting, directory, model):
    _, address = start(model=model, write=("/",), fsync=False)
    data = bytes(range(256)) * 8_192
    response, _ = ask(address, trusting, "PUT", "/new.bin", body=data)
    assert response.status == 201
    target = f"https://localhost:{address[1]}/other.bin"
    response, _ = ask(address, trusting, "PUT", target, body=data)
    assert response.status == 201
    assert (directory / "new.bin").read_bytes() == (directory / "other.bin").read_bytes() == data


@MODELS
def test_a_response_to_a_body_that_is_not_wanted_arrives(start, trusting, model):
    """RFC 9112 section 9.6: closing at once would reset the connection, and lose the response."""
    _, address = start(model=model)
    with connect(address, trusting) as client:
        client.sendall(b"POST /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
        client.sendall(bytes(300_000))
        received = b"".join(iter(lambda: client.recv(65_536), b""))
    assert received.startswith(b"HTTP/1.1 413 ")


def test_an_https_url_is_a_target_by_tls_alone(start, trusting, directory):
    _, address = start()
    url = f"https://localhost:{address[1]}/a.txt"
    for _ in range(3):
        response, body = ask(address, trusting, target=url)
        assert (response.status, body) == (200, (directory / "a.txt").read_bytes())
    request = f"GET {url} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert ask_plainly(address, request.encode()).startswith(b"HTTP/1.1 421 ")


@MODELS
@pytest.mark.parametrize(
    ("request_line", "location"),
    [
        ("GET /a.txt?x=1 HTTP/1.1", "https://site.test:99/a.txt?x=1"),
        ("HEAD / HTTP/1.1", "https://site.test:99/"),
        ("POST /in HTTP/1.1\r\nContent-Length: 2", "https://site.test:99/in"),
        ("GET http://other.test/a HTTP/1.1", "https://other.test/a"),
    ],
)
def test_plain_http_leads_to_https_on_the_same_port(start, model, request_line, location):
    _, address = start(model=model, hsts=60, write=("/",), fsync=False)
    request = f"{request_line}\r\nHost: site.test:99\r\n\r\nab"
    head = ask_plainly(address, request.encode()).partition(b"\r\n\r\n")[0].decode()
    assert head.startswith("HTTP/1.1 308 ")
    assert f"\r\nLocation: {location}\r\n" in head
    assert "Strict-Transport-Security" not in head  # RFC 6797 section 7.2


@pytest.mark.parametrize("request_line", ["GET / HTTP/1.0", "OPTIONS * HTTP/1.1\r\nHost: a"])
def test_what_has_no_url_is_told_that_this_is_tls(start, request_line):
    _, address = start()
    answer = ask_plainly(address, f"{request_line}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"speaks TLS" in answer


def test_a_host_that_is_not_allowed_is_not_redirected(start):
    _, address = start(allowed_hosts=("site.test",))
    answer = ask_plainly(address, b"GET / HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 421 ")


def test_browsers_are_told_to_keep_to_https_only_if_asked(start, trusting):
    name = "Strict-Transport-Security"
    _, address = start(hsts=31_536_000)
    for target in ("/a.txt", "/a.txt", "/missing"):
        assert ask(address, trusting, target=target)[0].headers[name] == "max-age=31536000"
    _, address = start()
    assert ask(address, trusting)[0].headers[name] is None
    own = "max-age=60; includeSubDomains"
    _, address = start(hsts=31_536_000, headers=(f"/* {name}: {own}",))
    assert ask(address, trusting)[0].headers.get_all(name) == [own]


@MODELS
@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\x16",
        b"\x16\x03\x01\x00\x05hello and more",
        b"\x16" + bytes(1_000),
        b"\x80\x2e\x01\x00\x02",  # SSL 2
    ],
)
def test_clients_that_fail_at_tls_are_no_errors_of_the_server(start, trusting, caplog, model, sent):
    _, address = start(model=model)
    caplog.set_level(logging.DEBUG)
    with socket.create_connection(address, TIMEOUT) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        while client.recv(65_536):
            pass
    assert ask(address, trusting)[0].status == 200
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


def wait_for_end(client):
    """Return once the server has closed the connection."""
    with suppress(ConnectionError):  # which is as good as an orderly end
        while client.recv(65_536):
            pass


@MODELS
def test_a_tunnel_goes_through_tls(start, trusting, model):
    with socket.create_server(("127.0.0.1", 0)) as target:
        port = target.getsockname()[1]
        _, address = start(model=model, allow_connect=(f"127.0.0.1:{port}",))
        with connect(address, trusting) as client:
            request = f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"
            client.sendall(request.encode())
            assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")
            peer, _ = target.accept()
            with peer:
                client.sendall(b"ping")
                assert peer.recv(4) == b"ping"
                peer.sendall(b"pong" * 50_000)
                peer.shutdown(socket.SHUT_WR)
                received = b"".join(iter(lambda: client.recv(65_536), b""))
    assert received == b"pong" * 50_000


@MODELS
def test_live_pages_are_told_of_changes_by_tls(start, trusting, directory, model):
    _, address = start(model=model, live=True)
    with connect(address, trusting) as client:
        client.sendall(
            b"GET /.aserve/live HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
            b"Sec-Fetch-Site: same-origin\r\n\r\n"
        )
        received = b""
        while b"\r\n\r\n" not in received:
            received += client.recv(65_536)
        assert b"\r\nContent-Type: text/event-stream" in received
        (directory / "a.txt").write_text("changed")
        while b"a.txt" not in received:
            more = client.recv(65_536)
            assert more
            received += more


@MODELS
def test_a_client_that_says_nothing_is_let_go(start, model):
    _, address = start(model=model, limits=Limits(header_timeout=1))
    with (
        socket.create_connection(address, TIMEOUT) as silent,
        socket.create_connection(address, TIMEOUT) as slow,
    ):
        slow.sendall(b"\x16\x03\x01")
        wait_for_end(silent)
        wait_for_end(slow)


@MODELS
def test_a_client_that_does_not_read_is_let_go(start, trusting, directory, model):
    """What waits in the transport of TLS counts as what waits in a plain one."""
    size = 1 << 26  # more than both kernels buffer
    with (directory / "huge.bin").open("wb") as file:
        file.truncate(size)
    lines = queue.Queue()
    limits = Limits(transfer_timeout=1, min_rate=1 << 30)
    _, address = start(model=model, limits=limits, access_log=lines.put)
    with connect(address, trusting) as client:
        client.sendall(b"GET /huge.bin HTTP/1.1\r\nHost: a\r\n\r\n")
        client.recv(1)
        line = lines.get(timeout=TIMEOUT)
        assert " 200 " in line
        assert int(line.split(" 200 ")[1].split()[0]) < size


def test_nothing_of_tls_is_imported_without_it(directory):
    code = (
        "import sys, aserve\n"
        f"with aserve.Server({str(directory)!r}) as server: pass\n"
        "from aserve.cli import serve\n"
        "print([name for name in sys.modules"
        " if name.startswith(('aserve.tls', 'cryptography')) or 'tls_' in name])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert shown == "[]\n"


@pytest.mark.parametrize("model", ["simulated-proactor", slow("asyncio")])
def test_a_reload_switches_tls_on_and_off(start, pair, trusting, model):
    """Connections stay; those that are plain are led to https from then on."""
    server, address = start(model=model, cert=(), key=())
    request = b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n"
    with socket.create_connection(address, TIMEOUT) as plain:
        plain.sendall(request)
        assert plain.recv(65_536).startswith(b"HTTP/1.1 200 ")
        server.reload(cert=(pair.cert,), key=(pair.key,))
        plain.sendall(request)
        assert plain.recv(65_536).startswith(b"HTTP/1.1 308 ")
    with connect(address, trusting) as secure:
        secure.sendall(request)
        assert secure.recv(65_536).startswith(b"HTTP/1.1 200 ")
        server.reload(cert=(), key=())
        secure.sendall(request)
        assert secure.recv(65_536).startswith(b"HTTP/1.1 200 ")
    assert ask_plainly(address, request.replace(b"1.1", b"1.0")).startswith(b"HTTP/1.1 200 ")


def test_handshakes_count_as_connections(start, trusting):
    _, address = start(limits=Limits(max_connections=2, max_connections_per_ip=2))
    waiting = [socket.create_connection(address, TIMEOUT) for _ in range(2)]
    for client in waiting:
        client.sendall(b"\x16\x03\x01")
    with socket.create_connection(address, TIMEOUT) as third:
        third.sendall(b"\x16")
        wait_for_end(third)
    for client in waiting:
        client.shutdown(socket.SHUT_WR)
        wait_for_end(client)
        client.close()
    assert ask(address, trusting)[0].status == 200


@MODELS
def test_a_stop_waits_for_no_handshake(start, model):
    server, address = start(model=model, grace=TIMEOUT, limits=Limits(header_timeout=600))
    with socket.create_connection(address, TIMEOUT) as client:
        client.sendall(b"\x16\x03\x01")
        server.stop()
        wait_for_end(client)


@MODELS
def test_a_handshake_that_a_reload_meets_goes_on(start, trusting, directory, model):
    server, address = start(model=model)
    with socket.create_connection(address, TIMEOUT) as raw:
        raw.sendall(b"")
        server.reload(index=("a.txt",))
        with trusting.wrap_socket(raw, server_hostname="localhost") as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            received = b"".join(iter(lambda: client.recv(65_536), b""))
    assert received.endswith((directory / "a.txt").read_bytes())


def free_ports():
    """Return two ports that are free now."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]


@pytest.mark.parametrize("options", ["", slow("--workers=2")])
def test_a_second_port_leads_to_https(directory, pair, trusting, options):
    port, from_port = free_ports()
    program = programs.start(
        directory,
        *("--host=127.0.0.1", f"--port={port}", f"--http-redirect={from_port}"),
        *("--cert", pair.cert, "--key", pair.key, *filter(None, [options])),
    )
    try:
        banner = [program.stderr.readline() for _ in range(4)]
        assert f"https://127.0.0.1:{port}/" in banner[1]
        for _ in range(4):
            request = f"GET /a.txt HTTP/1.1\r\nHost: site.test:{from_port}\r\n\r\n".encode()
            answer = ask_plainly(("127.0.0.1", from_port), request)
            assert answer.startswith(b"HTTP/1.1 308 ")
            assert f"\r\nLocation: https://site.test:{port}/a.txt\r\n".encode() in answer
            assert ask(("127.0.0.1", port), trusting)[1] == b"alpha"
        program.terminate()
        assert program.wait(TIMEOUT) == 0
    finally:
        program.close()


@pytest.mark.parametrize(
    ("host", "ports", "location"),
    [
        ("a.test", (80, 443), "https://a.test/x"),
        ("a.test:80", (80, 443), "https://a.test/x"),
        ("a.test", (80, 8443), "https://a.test:8443/x"),
        ("a.test:8443", (80, 8443), "https://a.test:8443/x"),
        ("[::1]:8080", (8080, 8443), "https://[::1]:8443/x"),
        ("[::1]", (80, 8443), "https://[::1]:8443/x"),
        ("a.test", (None, 8443), "https://a.test/x"),
    ],
)
def test_where_http_leads_to(host, ports, location):
    site = Site(NothingThere(), [HttpsOnly(*ports)])
    request = Request("GET", "/x", headers={"host": host})
    response = site.handle(request, RequestContext(0))
    assert (response.status, dict(response.headers)["Location"]) == (308, location)


class NothingThere:
    def handle(self, request: Request, context: RequestContext) -> Response:
        return Response(204, ())


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/.well-known/acme-challenge/a-B_9", 200),
        ("/.well-known/acme-challenge/", 308),
        ("/.well-known/acme-challenge/../../a.txt", 308),
        ("/.well-known/acme-challenge/%2e%2e", 308),
        ("/.well-known/other", 308),
    ],
)
def test_tokens_of_authorities_are_sent_by_http(start, directory, target, status):
    """RFC 8555 section 8.3: who checks a host asks by http, when there is no certificate yet."""
    (directory / ".well-known" / "acme-challenge").mkdir(parents=True)
    (directory / ".well-known" / "acme-challenge" / "a-B_9").write_text("token")
    _, address = start()
    request = f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
    assert ask_plainly(address, request).startswith(b"HTTP/1.1 %d " % status)


@MODELS
def test_http_and_https_share_no_cached_response(start, trusting, model):
    """Cold and warm, one after the other: the same target, and the same host."""
    _, address = start(model=model, hsts=60)
    for _ in range(5):
        response, body = ask(address, trusting)
        assert (response.status, body) == (200, b"alpha")
        assert response.headers["Strict-Transport-Security"] == "max-age=60"
        plain = ask_plainly(address, b"GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert plain.startswith(b"HTTP/1.1 308 ")
        assert b"alpha" not in plain


def test_no_login_is_asked_for_by_http(start, trusting):
    """A browser would send the password with the same request again, for all to read."""
    _, address = start(auth=("me:secret",), write=("/",))
    login = f"Authorization: Basic {base64.b64encode(b'me:secret').decode()}\r\n"
    for method, more in (("GET", ""), ("GET", login), ("PUT", login + "Content-Length: 1\r\n")):
        body = "x" if method == "PUT" else ""
        head = f"{method} /a.txt HTTP/1.1\r\nHost: localhost\r\n{more}\r\n{body}"
        plain = ask_plainly(address, head.encode())
        assert plain.startswith(b"HTTP/1.1 308 ")
        assert b"WWW-Authenticate" not in plain
    assert ask(address, trusting)[0].status == 401
    headers = {"Authorization": login[15:-2]}
    assert ask(address, trusting, headers=headers)[0].status == 200


def test_check_says_what_https_and_http_get(directory, pair, capsys):
    files = "--cert", pair.cert, "--key", pair.key

    def explained(url, *more):
        with pytest.raises(SystemExit) as end:
            main(["check", str(directory), *files, *more, "--explain", url])
        assert end.value.code == 0
        return capsys.readouterr().out

    assert "\n200 OK\n" in explained("/a.txt")
    secure = explained("https://a.test/a.txt", "--hsts", "60")
    assert "\n  Strict-Transport-Security: max-age=60\n" in secure
    plain = explained("http://a.test/a.txt")
    assert "\n308 Permanent Redirect\n" in plain
    assert "\n  Location: https://a.test/a.txt\n" in plain
    assert "308 to https://a.test/a.txt: TLS is on" in plain


def test_a_proxy_that_comes_by_tls_says_by_what_its_clients_came(start, trusting, directory):
    """On its connections, whose scheme is https to all others, and with limits of their own."""
    lines = []
    trust = {"proxy_trust": ("127.0.0.1",), "deny": ("192.0.2.66",), "hsts": 60}
    limits = Limits(max_connections_per_ip=1)
    _, address = start(access_log=lines.append, limits=limits, **trust)
    with connect(address, trusting), connect(address, trusting):
        for _ in range(3):
            for client, scheme, status in (
                *(("192.0.2.1", "https", 200), ("192.0.2.2", "http", 308)),
                *(("192.0.2.66", "https", 403), ("192.0.2.3", "", 200)),
            ):
                headers = {"X-Forwarded-For": client, "X-Forwarded-Proto": scheme}
                response, body = ask(address, trusting, headers=headers)
                assert response.status == status
                assert (response.headers["Strict-Transport-Security"] is not None) == (
                    status == 200
                )
                assert (body == (directory / "a.txt").read_bytes()) == (status == 200)
                assert lines.pop().startswith(f"{client} - - ")


@MODELS
def test_tls_on_a_unix_socket(start, trusting, tmp_path, model):
    path = tmp_path / "a.sock"
    lines = []
    server, _ = start(host=f"unix:{path}", model=model, access_log=lines.append)
    assert server.url == f"unix:{path}"
    raw = socket.socket(socket.AF_UNIX)
    raw.settimeout(TIMEOUT)
    raw.connect(str(path))
    with trusting.wrap_socket(raw, server_hostname="localhost") as client:
        client.sendall(b"GET /a.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert b"".join(iter(lambda: client.recv(65_536), b"")).endswith(b"alpha")
    server.stop()
    assert [line.split()[0] for line in lines] == ["-"]
