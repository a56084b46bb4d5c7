"""The local authority: what it may name, when it issues anew, and who may read its files."""

import os
import ssl
import stat
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509

import aserve
from aserve.server.certificates import open_certificates
from aserve.tls.authority import (
    CA_DAYS,
    LEAF_DAYS,
    REISSUE_DAYS,
    Authority,
    _leaf,
    fingerprint,
    utc_now,
)
from aserve.tls.certificates import shake_hands
from aserve.tls.machine import machine_addresses, machine_names
from tests.aserve.tls.test_serving import ask

NOW = datetime(2030, 1, 1, tzinfo=UTC)
NAMES = ("localhost", "box", "box.local")
ADDRESSES = (ip_address("127.0.0.1"), ip_address("192.168.1.5"))
DAY = timedelta(days=1)


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "data" / "aserve", NAMES)


@pytest.fixture
def file(authority):
    return authority.certificate_file.with_name("server.pem")


def loaded(file):
    return x509.load_pem_x509_certificate(file.read_bytes())


def names_in(file):
    extension = loaded(file).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return [str(one.value) for one in extension.value]


def test_a_certificate_is_for_the_names_and_lasts_90_days(authority, file):
    issued = authority.issue(file, NAMES, ADDRESSES, NOW)
    assert issued == (file, True, (), True)
    assert names_in(file) == [*NAMES, "127.0.0.1", "192.168.1.5"]
    certificate, root = loaded(file), loaded(authority.certificate_file)
    assert certificate.not_valid_after_utc == NOW + LEAF_DAYS * DAY
    assert root.not_valid_after_utc == NOW + CA_DAYS * DAY
    certificate.verify_directly_issued_by(root)
    assert len(fingerprint(root).split(":")) == 32


def test_what_is_there_stays_until_something_changes(authority, file):
    authority.issue(file, NAMES, ADDRESSES, NOW)
    first = file.read_bytes()

    def issue(names=NAMES, addresses=ADDRESSES, after=0):
        issued = authority.issue(file, names, addresses, NOW + after * DAY)
        assert not issued.made_authority
        return issued.is_new

    last_day = LEAF_DAYS - REISSUE_DAYS
    assert not issue()
    assert not issue((*reversed(NAMES),))
    assert not issue(after=last_day - 1)
    assert file.read_bytes() == first
    assert issue(after=last_day)
    assert issue(addresses=(ip_address("127.0.0.1"), ip_address("192.168.1.6")))
    assert issue((*NAMES, "site.test"))
    file.write_bytes(b"damaged")
    assert issue()
    file.unlink()
    assert issue()


def test_the_authority_names_this_machine_and_private_networks_alone(authority, file):
    public = ip_address("203.0.113.9"), ip_address("2001:db8::1")
    private = ip_address("10.1.2.3"), ip_address("fd00::5")
    hosts = (*NAMES, "a.box", "site.test", "printer.local", "example.org", "notbox", "localhost.eu")
    issued = authority.issue(file, hosts, (*private, *public), NOW)
    assert issued.left_out == ("example.org", "notbox", "localhost.eu", *map(str, public))
    assert names_in(file) == [*hosts[:6], *map(str, private)]


@pytest.mark.parametrize(
    ("name", "is_fine"), [("box", True), ("bank.example", False), ("203.0.113.9", False)]
)
def test_clients_refuse_what_the_authority_may_not_name(authority, file, name, is_fine):
    """The constraints hold also against one who has its key."""
    authority.prepare(utc_now())
    _, key, _ = authority._load_or_make(utc_now())
    file.write_bytes(_leaf(loaded(authority.certificate_file), key, (name,), utc_now()))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    client = ssl.create_default_context(cafile=str(authority.certificate_file))
    client.check_hostname = False  # of the name alone
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        server.wrap_bio(to_server, to_client, server_side=True),
        client.wrap_bio(to_client, to_server),
    )
    if is_fine:
        shake_hands(ends)
        assert ends[1].getpeercert()
    else:
        with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
            shake_hands(ends)


def test_only_this_user_can_read_the_files(authority, file):
    os.umask(old := os.umask(0))
    os.umask(0)
    try:
        authority.issue(file, NAMES, ADDRESSES, NOW)
    finally:
        os.umask(old)
    directory = file.parent
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(one.stat().st_mode) for one in directory.iterdir()} == {0o600}
    assert sorted(one.name for one in directory.iterdir()) == [
        "authority.key",
        "authority.pem",
        "lock",
        "server.pem",
    ]


def test_a_damaged_authority_is_no_reason_to_make_another(authority, file):
    authority.issue(file, NAMES, ADDRESSES, NOW)
    key = file.with_name("authority.key")
    other = Authority(file.parent.parent / "other", NAMES)
    other.issue(other.certificate_file.with_name("x.pem"), NAMES, ADDRESSES, NOW)
    key.write_bytes(other.certificate_file.with_name("authority.key").read_bytes())
    with pytest.raises(ValueError, match="is not the key of authority"):
        authority.issue(file, NAMES, ADDRESSES, NOW)
    key.write_bytes(b"damaged")
    with pytest.raises(ValueError):
        authority.issue(file, NAMES, ADDRESSES, NOW)


def test_an_authority_that_ends_is_replaced(authority, file):
    authority.issue(file, NAMES, ADDRESSES, NOW)
    late = NOW + (CA_DAYS - LEAF_DAYS) * DAY
    assert authority.issue(file, NAMES, ADDRESSES, late).made_authority
    assert loaded(file).not_valid_after_utc == late + LEAF_DAYS * DAY


@pytest.mark.parametrize(
    ("hostname", "names"),
    [
        ("Box", ("localhost", "box", "box.local")),
        ("web1.example.org", ("localhost", "web1.example.org", "web1", "web1.local")),
        ("localhost", ("localhost", "localhost.local")),
        ("my_box", ("localhost",)),
        ("", ("localhost",)),
    ],
)
def test_the_names_of_a_machine(hostname, names):
    assert machine_names(hostname) == names


def test_the_addresses_of_a_machine_are_those_that_the_kernel_tells(tmp_path):
    (tmp_path / "fib_trie").write_text(
        "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n"
        "           |-- 192.168.1.0\n              /24 link UNICAST\n"
        "           |-- 192.168.1.5\n              /32 host LOCAL\n"
        "        |-- 127.0.0.1\n           /32 host LOCAL\n"
        "           |-- 10.0.0.7\n              /32 host LOCAL\n"
        "           |-- 192.168.1.255\n              /32 link BROADCAST\n"
    )
    (tmp_path / "if_inet6").write_text(
        "00000000000000000000000000000001 01 80 10 80       lo\n"
        "fd000000000000000000000000000002 02 40 00 80     eth0\n"
        "fe80000000000000024d0bfffe000001 02 40 20 80     eth0\n"
    )
    addresses = list(map(str, machine_addresses(tmp_path)))
    assert addresses == ["127.0.0.1", "::1", "10.0.0.7", "192.168.1.5", "fd00::2"]
    assert list(map(str, machine_addresses(tmp_path / "none"))) == ["127.0.0.1", "::1"]


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The directory of data of this user."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    return tmp_path / "xdg" / "aserve"


def test_https_serves_this_machine_to_those_who_trust_the_authority(directory, data, caplog):
    sites = (aserve.VirtualHost("site.test", root=directory / "sub"),)
    with aserve.Server(directory, host="localhost", https=True, sites=sites) as server:
        address = "127.0.0.1", int(server.url.split(":")[2].strip("/"))
        context = ssl.create_default_context(cafile=str(data / "authority.pem"))
        for host in ("localhost", "127.0.0.1", *machine_names()):
            assert ask(address, context, host=host)[1] == b"alpha"
        assert ask(address, context, target="/", host="site.test")[1] == b"<h1>sub</h1>"
    assert caplog.text.count("made an authority for this machine") == 1
    with aserve.Server(directory, https=True, sites=sites):
        pass
    assert caplog.text.count("made an authority") == 1


def test_what_https_cannot_do_is_one_line(directory, data, monkeypatch):
    data.parent.mkdir()
    data.write_text("no directory")
    with pytest.raises(aserve.SettingsError, match=r"https: cannot write to .*File exists"):
        open_certificates(aserve.Settings(directory, https=True))
    data.unlink()
    open_certificates(settings := aserve.Settings(directory, https=True))
    (data / "authority.key").write_text("damaged")
    with pytest.raises(aserve.SettingsError, match="https: the local authority is damaged"):
        open_certificates(settings)
    monkeypatch.setattr("aserve.config.tls.find_spec", lambda name: None)
    with pytest.raises(aserve.SettingsError) as error:
        aserve.Settings(directory, https=True)
    reason = "needs the package cryptography: pip install 'aserve-http[https]'"
    assert str(error.value) == f"https: {reason}"


def test_the_files_of_https_are_never_served(directory, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(directory))
    with aserve.Server(directory, host="127.0.0.1", https=True, dotfiles=True) as server:
        address = "127.0.0.1", int(server.url.split(":")[2].strip("/"))
        context = ssl.create_default_context(cafile=str(directory / "aserve" / "authority.pem"))
        for file in Path(directory / "aserve").iterdir():
            if file.name != "lock":
                assert ask(address, context, target=f"/aserve/{file.name}")[0].status == 404
