"""Handshakes of TLS: sessions that are resumed, how long they take, and why they fail.

The server is OpenSSL in this process: it counts by itself which sessions were resumed.
"""

import asyncio
import fcntl
import itertools
import os
import re
import ssl
import sys
import termios
import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from abench.client import connection, one_shot, socket_transport, tls_errors, tls_transport
from abench.client.tls_sessions import SessionStore
from abench.errors import UnreachableError
from abench.plan.plan import Plan
from abench.plan.route import TlsOptions
from abench.runner import preflight
from tests.marks import slow

SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
RESUMING = TlsOptions(insecure=True, resume=True)
ONE_EACH = {"connections": 2, "requests": 10, "keep_alive": False}
VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
WITH_TLS = pytest.mark.parametrize("transport", ["TLS", slow("TLS through a proxy")])


def resumed_by(accepted):
    return sum(bool(peer.tls.session_reused) for peer in accepted)


# -- Sessions that are resumed --------------------------------------------------------------------


@WITH_TLS
@VERSIONS
async def test_without_the_option_every_handshake_is_a_full_one(version, serve_tls, run_plan):
    url, accepted = await serve_tls(SIZED, version=version)
    summary = (await run_plan(url=url, **ONE_EACH)).summary
    found = summary.handshakes
    assert (summary.succeeded, summary.phases.handshake.count, found.resumed) == (10, 10, 0)
    assert (len(accepted), resumed_by(accepted)) == (10, 0)


@WITH_TLS
@VERSIONS
async def test_a_closed_connection_leaves_its_session_to_the_next(version, serve_tls, run_plan):
    # RFC 8446 section 2.2 and RFC 5077: each of the two connections makes one full handshake
    url, accepted = await serve_tls(SIZED, version=version)
    summary = (await run_plan(url=url, **ONE_EACH, tls=RESUMING)).summary
    found = summary.handshakes
    assert (summary.succeeded, summary.phases.handshake.count, found.resumed) == (10, 10, 8)
    assert (len(accepted), resumed_by(accepted)) == (10, 8)


@VERSIONS
@pytest.mark.parametrize("transport", ["TLS"])
async def test_connections_that_are_reopened_resume_sessions_as_well(version, serve_tls, run_plan):
    url, accepted = await serve_tls(SIZED, ends="orderly", version=version)
    plan = {"url": url, "connections": 1, "requests": 4, "tls": RESUMING}
    summary = (await run_plan(**plan)).summary
    assert (summary.succeeded, summary.failed) == (4, 0)
    # The first connection was open before the clock started.
    assert summary.phases.handshake.count == summary.handshakes.resumed == len(accepted) - 1
    assert resumed_by(accepted) == len(accepted) - 1 > 0
    assert summary.phases.request.count == 0  # most requests had no handshake of their own


@pytest.mark.parametrize("transport", ["TLS"])
async def test_a_server_without_tickets_gets_full_handshakes(server_context, serve_tls, run_plan):
    server_context.num_tickets = 0
    url, accepted = await serve_tls(SIZED, version=ssl.TLSVersion.TLSv1_3)
    summary = (await run_plan(url=url, **ONE_EACH, tls=RESUMING)).summary
    assert (summary.succeeded, summary.handshakes.resumed, resumed_by(accepted)) == (10, 0, 0)


@pytest.mark.parametrize("transport", ["TLS"])
async def test_a_session_that_the_server_no_longer_knows_is_a_full_handshake(
    certificates, serve_tls, run_plan
):
    """As after a restart of the server, whose new keys open no ticket of before."""

    def new_context(_number):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
        return context

    url, accepted = await serve_tls(SIZED, contexts=map(new_context, itertools.count()))
    summary = (await run_plan(url=url, **ONE_EACH, tls=RESUMING)).summary
    assert (summary.succeeded, summary.failed) == (10, 0)
    assert summary.handshakes.resumed == resumed_by(accepted) == 0


class FakeSession:
    def __init__(self, number, *, has_ticket=True, session_id=b"id"):
        self.number, self.has_ticket, self.id = number, has_ticket, session_id

    def __eq__(self, other):
        return isinstance(other, FakeSession) and self.number == other.number

    __hash__ = None


class FakeTls:
    def __init__(self, session, version, *, session_reused=False):
        self.session, self._version = session, version
        self.session_reused = session_reused

    def version(self):
        return self._version


def test_a_session_is_handed_out_once_and_the_latest_first():
    store = SessionStore(capacity=2)
    for number in (1, 2, 3):  # more than there are connections to resume them
        store.put(FakeTls(FakeSession(number), "TLSv1.3"), None)
    assert [store.take(), store.take(), store.take()] == [FakeSession(2), FakeSession(1), None]


def test_a_ticket_of_tls13_is_used_once():
    # RFC 8446, appendix C.4: clients should not reuse a ticket for several connections
    store, session = SessionStore(capacity=2), FakeSession(1)
    store.put(FakeTls(session, "TLSv1.3"), session)  # the server has sent no new one
    assert store.take() is None
    store.put(FakeTls(session, "TLSv1.2", session_reused=True), session)
    assert store.take() is session


@pytest.mark.parametrize(
    ("session", "version", "usable"),
    [
        (None, "TLSv1.3", False),
        (FakeSession(1, has_ticket=False), "TLSv1.3", False),  # none came before the close
        (FakeSession(1, has_ticket=False), "TLSv1.2", True),  # the server keeps the session
        (FakeSession(1, has_ticket=False, session_id=b""), "TLSv1.2", False),
    ],
)
def test_only_what_can_be_resumed_is_kept(session, version, usable):
    store = SessionStore(capacity=1)
    store.put(FakeTls(session, version), None)
    assert store.take() is (session if usable else None)


# -- How long they take ---------------------------------------------------------------------------


@pytest.fixture
def stepping_clock(monkeypatch):
    """A clock of requests that is a millisecond later each time it is read."""
    steps = itertools.count(time.perf_counter_ns() // 10**6)
    for module in (socket_transport, tls_transport, connection, one_shot):
        monkeypatch.setattr(module, "_clock", lambda: next(steps) * 10**6)


@pytest.mark.parametrize("transport", ["TLS", slow("TLS through a proxy")])
async def test_connect_handshake_and_request_are_told_apart(stepping_clock, serve_tls, run_plan):
    url, _ = await serve_tls(SIZED)
    plan = {"url": url, "connections": 1, "requests": 6, "keep_alive": False}
    summary = (await run_plan(**plan)).summary
    found = summary.phases
    # The clock is read when a request and when its connection starts, when TCP is open, when the
    # handshake starts and when it is done, and when the response is complete.
    for histogram, us in ((summary.service, 5_000), (found.connect, 1_000),
                          (found.handshake, 1_000), (found.request, 1_000)):  # fmt: skip
        assert (histogram.count, histogram.min, histogram.max) == (6, us, us)


@pytest.mark.parametrize("transport", ["TLS"])
@pytest.mark.parametrize("load", [{"rate": 1_000.0}, {"stages": "5ms@1000,5ms@1000"}])
async def test_requests_on_a_schedule_are_timed_without_their_handshakes(load, serve_tls, run_plan):
    url, _ = await serve_tls(SIZED)
    plan = {"url": url, "connections": 2, "requests": 6, "keep_alive": False, **load}
    summary = (await run_plan(**plan)).summary
    assert summary.phases.request.count == summary.succeeded == summary.response.count > 0
    assert summary.phases.request.max_us <= summary.service.max_us


@pytest.mark.parametrize("transport", ["TLS"])
async def test_handshakes_before_the_clock_starts_are_not_counted(serve_tls, run_plan):
    url, accepted = await serve_tls(SIZED)
    summary = (await run_plan(url=url, connections=2, requests=20)).summary
    assert (summary.succeeded, len(accepted)) == (20, 2)
    found = summary.phases
    assert found.connect.count == found.handshake.count == found.request.count == 0
    assert (
        summary.handshakes.session.version == "TLSv1.3"
    )  # what was agreed on is known all the same


@pytest.mark.parametrize("transport", ["TLS"])
async def test_the_end_of_a_handshake_and_the_request_are_sent_together(serve_tls, run_plan):
    # RFC 8446 section 2: the client's Finished is the last message, and its data may follow
    url, accepted = await serve_tls(SIZED, ends="orderly", version=ssl.TLSVersion.TLSv1_3)
    plan = {"url": url, "connections": 1, "requests": 3, "keep_alive": False}
    assert (await run_plan(**plan)).summary.succeeded == 3
    # Its hello; its Finished with the request. This server closes before it reads more.
    assert [peer.reads for peer in accepted] == [2, 2, 2]


# -- What was agreed on ---------------------------------------------------------------------------


@VERSIONS
@pytest.mark.parametrize("transport", ["TLS"])
async def test_the_certificate_is_described_if_it_was_verified(
    version, certificates, serve_tls, run_plan
):
    url, accepted = await serve_tls(SIZED, version=version)
    trusting = TlsOptions(authority=str(certificates / "ca.pem"), name="bench.test")
    summary = (await run_plan(url=url, connections=1, requests=2, tls=trusting)).summary
    found = summary.handshakes.session
    assert (found.version, found.cipher) == (
        accepted[0].tls.version(), accepted[0].tls.cipher()[0]
    )  # fmt: skip
    assert (found.subject, found.issuer) == ("server", "ca")
    certificate = x509.load_pem_x509_certificate((certificates / "server.pem").read_bytes())
    assert datetime.fromisoformat(found.expires_at) == certificate.not_valid_after_utc

    summary = (await run_plan(url=url, connections=1, requests=2)).summary  # insecure
    assert summary.handshakes.session.version == accepted[0].tls.version()
    assert summary.handshakes.session.expires_at == ""


@pytest.mark.parametrize("insecure", [True, False])
def test_only_who_verifies_looks_for_authorities(insecure, monkeypatch):
    """OpenSSL reads the system's directory in each handshake if it has one and finds no issuer."""
    loaded = []
    monkeypatch.setattr(
        ssl.SSLContext, "load_default_certs", lambda _self, *purpose: loaded.append(purpose)
    )
    context = TlsOptions(insecure=insecure).context()
    assert bool(loaded) != insecure
    assert (context.verify_mode, context.check_hostname) == (
        (ssl.CERT_NONE, False) if insecure else (ssl.CERT_REQUIRED, True)
    )


@pytest.mark.parametrize("insecure", [True, False])
def test_keys_can_be_logged_for_who_watches_the_network(insecure, monkeypatch, tmp_path):
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    assert TlsOptions(insecure=insecure).context().keylog_filename == str(tmp_path / "keys")


# -- With a server in a process of its own ---------------------------------------------------------


@pytest.fixture
async def aserve(certificates, tmp_path):
    """The URL of aserve with the certificate of bench.test, and one worker."""
    (tmp_path / "a.txt").write_text("hello")
    pair = ("--cert", certificates / "server.pem", "--key", certificates / "server.key")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "aserve", tmp_path, "--port", "0", "--access-log", "off", *pair),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout
    while not (found := re.search(rb"https://\S+:(\d+)/", await process.stdout.readline())):
        assert process.returncode is None
    yield f"https://bench.test:{int(found[1])}/a.txt"
    process.terminate()
    await process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize(("options", "resumed"), [((), 0), (("--tls-resume",), 38)])
async def test_the_command_against_aserve(options, resumed, aserve, certificates, abench):
    port = aserve.split(":")[2].partition("/")[0]
    ran = await abench(
        *("-c", "2", "-n", "40", "-w", "1", "--no-keepalive", "--json", "-", *options),
        *("--cacert", str(certificates / "ca.pem")),
        *("--resolve", f"bench.test:{port}:127.0.0.1", aserve),
    )
    assert (ran.code, ran.json["requests"]["succeeded"]) == (0, 40)
    found = ran.json["tls"]
    assert (found["full_handshakes"], found["resumed_handshakes"]) == (40 - resumed, resumed)
    assert (found["version"], found["certificate"]["subject"]) == ("TLSv1.3", "server")
    assert "certificate of server by ca" in ran.err  # the text, since JSON is on standard output


class ManualServer:
    """`openssl s_server` with TLS 1.3: what it gets on its pipe it sends, or does if it is K."""

    def __init__(self, process, pipe, port):
        self.process, self.port = process, port
        self.key_updates = []  # b"<<<" those that it got, b">>>" those that it sent
        self._pipe = pipe

    async def read_request(self):
        line = b""
        while not line.startswith(b"Host: "):
            line = await self.process.stdout.readline()
            assert line
            if b"KeyUpdate" in line:
                self.key_updates.append(line[:3])

    async def write(self, data):
        """Write to its pipe, and return once it has read that: a command is a read of its own."""
        os.write(self._pipe, data)
        await asyncio.to_thread(self._wait_until_read)

    def _wait_until_read(self):
        while fcntl.ioctl(self._pipe, termios.FIONREAD, bytes(4)) != bytes(4):
            time.sleep(0.001)


@pytest.fixture
async def manual_server(certificates):
    read_end, write_end = os.pipe()
    pair = ("-cert", certificates / "server.pem", "-key", certificates / "server.key")
    process = await asyncio.create_subprocess_exec(
        *("openssl", "s_server", "-accept", "127.0.0.1:0", "-tls1_3", "-msg", *pair),
        stdin=read_end,
        stdout=asyncio.subprocess.PIPE,
    )
    os.close(read_end)
    assert process.stdout
    while not (accepts := re.match(rb"ACCEPT .*:(\d+)", await process.stdout.readline())):
        assert process.returncode is None
    yield ManualServer(process, write_end, int(accepts[1]))
    process.kill()
    await process.communicate()
    os.close(write_end)


@pytest.mark.slow
async def test_a_server_may_change_its_keys_and_ask_for_others(manual_server, run_plan):
    # RFC 8446 section 4.6.3: the client sends an update of its own before its next data
    async def respond():
        for _ in range(3):
            await manual_server.read_request()
            await manual_server.write(b"K\n")
            await manual_server.write(b"HTTP/1.1 200 OK\nContent-Length: 6\n\nhello\n")

    responses = asyncio.create_task(respond())
    url = f"https://127.0.0.1:{manual_server.port}/"
    plan = {"url": url, "connections": 1, "requests": 3, "tls": TlsOptions(insecure=True)}
    summary = (await run_plan(**plan)).summary
    await responses
    assert (summary.succeeded, summary.failed, summary.retried) == (3, 0, 0)
    assert summary.phases.handshake.count == 0  # all on the one connection
    assert manual_server.key_updates == [b">>>", b"<<<"] * 2


# -- Why they fail --------------------------------------------------------------------------------


@pytest.fixture
def expired(certificates, tmp_path):
    """A file with a certificate of the authority that has expired, and its key."""
    server = x509.load_pem_x509_certificate((certificates / "server.pem").read_bytes())
    authority = load_pem_private_key((certificates / "ca.key").read_bytes(), None)
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder(server.issuer, server.subject, server.public_key(), 7)
        .not_valid_before(now - timedelta(days=3))
        .not_valid_after(now - timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("bench.test")]), critical=False)
    )
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())
    builder = builder.add_extension(issuer, critical=False)  # Python 3.13 asks for it
    signed = builder.sign(authority, hashes.SHA256()).public_bytes(Encoding.PEM)
    path = tmp_path / "expired.pem"
    path.write_bytes(signed + (certificates / "server.key").read_bytes())
    return path


@pytest.fixture
def failing(certificates, server_context, expired):
    """Return the options of a client whose handshake fails for a reason."""

    def options(reason):
        authority, name = str(certificates / "ca.pem"), "bench.test"
        match reason:
            case "certificate expired":
                server_context.load_cert_chain(expired)
            case "wrong name":
                name = "other.test"
            case "unknown authority":
                authority = None
            case "no common version":
                server_context.minimum_version = ssl.TLSVersion.TLSv1_3
        return TlsOptions(authority=authority, name=name)

    return options


REASONS = ("certificate expired", "wrong name", "unknown authority", "no common version")


@pytest.fixture
def only_tls12(monkeypatch):
    """Let the client speak no version beyond 1.2, for servers with 1.3 only."""
    make = TlsOptions.context

    def context(self):
        made = make(self)
        made.maximum_version = ssl.TLSVersion.TLSv1_2
        return made

    monkeypatch.setattr(TlsOptions, "context", context)


@pytest.mark.parametrize("transport", ["TLS", slow("TLS through a proxy")])
@pytest.mark.parametrize("reason", REASONS)
async def test_a_handshake_that_fails_is_counted_by_its_reason(
    reason, failing, serve_tls, run_plan, request
):
    if reason == "no common version":
        request.getfixturevalue("only_tls12")
    options = failing(reason)
    url, _ = await serve_tls(SIZED)
    plan = {"url": url, "connections": 1, "requests": 1, "keep_alive": False, "tls": options}
    summary = (await run_plan(**plan)).summary
    assert dict(summary.failures) == {"tls": 1}
    assert dict(summary.reasons) == {reason: 1}
    (sample,) = summary.samples
    assert (sample.kind, sample.detail) == ("tls", reason)
    assert summary.phases.handshake.count == 0


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        ("certificate expired", "the server's certificate has expired"),
        ("wrong name", "the server's certificate is for another name (Hostname mismatch, cert"),
        ("unknown authority", "the server's certificate is from an unknown authority ("),
        ("no common version", "client and server have no version of TLS in common ("),
    ],
)
async def test_what_cannot_be_measured_at_all_is_said_in_one_line(
    reason, line, failing, serve_tls, request
):
    if reason == "no common version":
        request.getfixturevalue("only_tls12")
    options = failing(reason)
    url, _ = await serve_tls(SIZED)
    plan = Plan(url=url, requests=1, tls=options)
    resolved = asyncio.get_running_loop().run_in_executor(None, preflight.resolve, plan)
    with pytest.raises(UnreachableError) as caught:
        await resolved
    text = str(caught.value)
    assert text.startswith(f"cannot reach {plan.target.authority}: {line}")
    assert "\n" not in text


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionResetError(104, "Connection reset by peer"), "closed in the handshake"),
        (ConnectionError(), "closed in the handshake"),
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), "closed in the handshake"),
        (ssl.SSLZeroReturnError(6, "closed"), "closed in the handshake"),
        (ssl.SSLError(1, "odd"), "closed in the handshake"),
    ],
)
def test_an_end_without_an_alert_is_a_close(error, reason):
    assert tls_errors.describe(error).reason == reason


def of_openssl(kind, **attributes):
    error = kind(1, "text")
    vars(error).update(attributes)
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("TLSV1_ALERT_PROTOCOL_VERSION", "no common version"),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "handshake refused"),
        ("SSL/TLS_ALERT_HANDSHAKE_FAILURE", "handshake refused"),  # OpenSSL 3.4
        ("HTTP_REQUEST", "not TLS"),
        ("TLSV1_UNRECOGNIZED_NAME", "tlsv1 unrecognized name"),
    ],
)
def test_names_of_openssl_have_a_reason(name, reason):
    assert tls_errors.describe(of_openssl(ssl.SSLError, reason=name)).reason == reason


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (9, "certificate not yet valid"),
        (10, "certificate expired"),
        (18, "unknown authority"),
        (62, "wrong name"),
        (64, "wrong name"),
        (23, "certificate revoked"),
    ],
)
def test_verdicts_on_certificates_have_a_reason(code, reason):
    error = of_openssl(
        ssl.SSLCertVerificationError, verify_code=code, verify_message="certificate revoked"
    )
    failure = tls_errors.describe(error)
    assert failure.reason == reason
    assert "\n" not in failure.message
