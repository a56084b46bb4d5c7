"""Certificates that change while a server runs: no client notices but by what it is shown."""

import asyncio
import http.client
import logging
import os
import re
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
from cryptography import x509

import aserve
from aserve.server.certificate_watch import CertificateWatch
from aserve.server.orders import ReloadError
from tests.aserve import programs
from tests.aserve.tls.issuing import issue
from tests.aserve.tls.test_serving import TIMEOUT, ask, connect
from tests.marks import slow

DAY = 86_400


def files_of(*pairs):
    return {"cert": tuple(one.cert for one in pairs), "key": tuple(one.key for one in pairs)}


def serial_shown(address, context, host="localhost"):
    with connect(address, context, host) as client:
        return client.getpeercert()["serialNumber"]


@pytest.mark.parametrize(
    ("model", "requests", "swaps"),
    [
        ("simulated-proactor", 100, 10),
        slow("simulated-proactor", 1_000, 50),
        slow("asyncio", 1_000, 50),
    ],
)
def test_no_request_fails_while_certificates_are_exchanged(
    start, trusting, pair, large_file, *, model, requests, swaps
):
    """Half of the clients come by name and half by address, which they ask for without SNI."""
    server, address = start(model=model)
    shown, failures = set(), []

    def download():
        with connect(address, trusting) as client:
            client.sendall(b"GET /large.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            parts = [client.recv(1_024)]
            swapped.wait(TIMEOUT)
            parts.extend(iter(lambda: client.recv(65_536), b""))
            assert b"".join(parts).endswith(large_file.read_bytes())
            ended.set()

    def send_requests(number):
        host = ("localhost", "127.0.0.1")[number % 2]
        for _ in range(requests // 4):
            try:
                shown.add(serial_shown(address, trusting, host))
                response, body = ask(address, trusting, host=host)
                assert (response.status, body) == (200, b"alpha")
            except (OSError, AssertionError, http.client.HTTPException) as error:
                failures.append(error)

    swapped, ended = threading.Event(), threading.Event()
    clients = [threading.Thread(target=send_requests, args=(number,)) for number in range(4)]
    downloading = threading.Thread(target=download)
    for thread in (downloading, *clients):
        thread.start()
    for _ in range(swaps):
        issue(Path(pair.cert).parent, "first")
        server.reload()
    swapped.set()
    for thread in (downloading, *clients):
        thread.join()
    assert failures == []
    assert ended.is_set()
    assert len(shown) > 1
    last = x509.load_pem_x509_certificate(Path(pair.cert).read_bytes()).serial_number
    assert int(serial_shown(address, trusting), 16) == last


def test_a_reload_with_a_bad_certificate_changes_nothing(start, trusting, certificates, pair):
    server, address = start()
    before = serial_shown(address, trusting)
    other = issue(certificates, "other")
    with pytest.raises(aserve.SettingsError, match="is not the key of"):
        server.reload(cert=(pair.cert,), key=(other.key,))
    Path(pair.key).write_bytes(Path(other.key).read_bytes())
    with pytest.raises(aserve.SettingsError, match="is not the key of"):
        server.reload()
    assert serial_shown(address, trusting) == before
    server.reload(**files_of(other))
    assert serial_shown(address, trusting) != before


def until(condition):
    """Wait until something is true, which a watch brings about twice a second."""
    while not condition():
        time.sleep(0.05)


def replaced(certificates, name, **options):
    """Replace the files of a certificate, as programs that renew them do: one after the other."""
    renewed = certificates / "renewed"
    renewed.mkdir(exist_ok=True)
    pair = issue(renewed, name, **options)
    for file in pair:
        os.replace(file, certificates / Path(file).name)


@pytest.mark.parametrize("workers", [1, slow(2)])
def test_changed_files_are_presented_and_bad_ones_are_named(
    directory, certificates, pair, trusting, workers
):
    options = f"--workers={workers}", "--port=0", "--host=127.0.0.1"
    program = programs.start(directory, *options, "--cert", pair.cert, "--key", pair.key)
    try:
        banner = [program.stderr.readline() for _ in range(4)]
        address = "127.0.0.1", int(re.search(r":(\d+)/", banner[1])[1])
        first = serial_shown(address, trusting)
        with connect(address, trusting) as client:
            replaced(certificates, "first")
            until(lambda: serial_shown(address, trusting) != first)
            client.sendall(b"GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert b"".join(iter(lambda: client.recv(65_536), b"")).endswith(b"alpha")
        second = serial_shown(address, trusting)
        Path(pair.key).write_text("no key")
        line = program.stderr.readline()
        assert line.startswith("aserve: certificates have changed: --key: ")
        assert line.endswith("has no private key in PEM; serving on as before\n")
        assert serial_shown(address, trusting) == second
        replaced(certificates, "first")
        until(lambda: serial_shown(address, trusting) != second)
        program.terminate()
        assert program.wait(TIMEOUT) == 0
    finally:
        program.close()


class FakeControl:
    """Keeps what it is to call."""

    def __init__(self):
        self.watches, self.later = {}, []

    def watch(self, name, watched, call):
        self.watches[name] = watched

    def call_later(self, seconds, call):
        self.later.append(call)


def test_a_certificate_that_expires_is_told_once_a_day(directory, certificates, pair, caplog):
    issued = time.time()
    now = issued
    other = issue(certificates, "other", days=90)
    control = FakeControl()
    watch = CertificateWatch(control, lambda settings: None, clock=lambda: now)
    watch.use(aserve.Settings(directory, **files_of(pair, other)))
    told = []
    for day in range(33):
        now = issued + day * DAY
        for _ in range(3):
            control.later.pop()()
        if caplog.records:
            told.append((day, caplog.records[0].message))
            assert len(caplog.records) == 1
        caplog.clear()
    assert [day for day, _ in told] == list(range(16, 33))
    assert told[0][1] == f"cert: {pair.cert!r} expires in 13 days"
    assert told[12][1].endswith("expires in 1 day")
    assert told[-1][1].endswith("has expired")


def test_a_certificate_for_this_machine_is_issued_when_its_names_change(
    directory, tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(socket, "gethostname", lambda: "one")
    settings = aserve.Settings(directory, https=True)
    ((file, _),) = settings.certificate_files
    control = FakeControl()
    presented = []
    watch = CertificateWatch(control, presented.append)
    watch.use(settings)
    first = file.read_bytes()
    control.later.pop()()
    assert file.read_bytes() == first
    assert not control.watches["certificates"].have_changed()
    monkeypatch.setattr(socket, "gethostname", lambda: "two")
    control.later.pop()()
    assert file.read_bytes() != first
    assert "the certificate is not for two" in caplog.text
    watched = control.watches["certificates"]
    assert [watched.have_changed() for _ in range(2)] == [False, True]
    watch.exchange()
    assert presented == [settings]


def test_without_tls_nothing_is_looked_at(directory, pair):
    """Not at the start, and not for ever after a reload that switches it off."""
    plain, secure = aserve.Settings(directory), aserve.Settings(directory, **files_of(pair))
    control = FakeControl()
    watch = CertificateWatch(control, lambda settings: None)
    watch.use(plain)
    assert (control.later, bool(control.watches["certificates"])) == ([], False)
    watch.use(secure)
    watch.use(secure)
    assert (len(control.later), bool(control.watches["certificates"])) == (1, True)
    watch.use(plain)
    control.later.pop()()
    assert (control.later, bool(control.watches["certificates"])) == ([], False)


def test_workers_that_cannot_follow_keep_what_they_have(directory, pair, caplog):
    def present(settings):
        raise ReloadError("a worker has ended")

    watch = CertificateWatch(FakeControl(), present)
    watch.use(aserve.Settings(directory, **files_of(pair)))
    caplog.set_level(logging.ERROR)
    watch.exchange()
    assert caplog.messages == [
        "certificates have changed: a worker has ended; serving on as before"
    ]


async def test_a_server_in_a_loop_exchanges_them_too(directory, certificates, pair, trusting):
    async with aserve.Server(directory, host="127.0.0.1", **files_of(pair)) as server:
        address = "127.0.0.1", int(server.url.split(":")[2].strip("/"))
        before = await asyncio.to_thread(serial_shown, address, trusting)
        issue(certificates, "first")
        await server.areload()
        assert await asyncio.to_thread(serial_shown, address, trusting) != before
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.to_thread(connect, address, ssl.create_default_context())
