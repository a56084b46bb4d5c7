"""Certificates and keys that cannot work: one line each, before anything is served."""

import time
from pathlib import Path

import pytest

import aserve
from aserve.cli.main import main
from aserve.config.configuration import read_configuration
from aserve.server.setting_warnings import find_warnings
from aserve.tls.certificates import (
    CertificateError,
    CertificateFiles,
    check_certificate,
    load_context,
)
from tests.aserve.tls.issuing import CLIENTS, issue

DAY = 86_400


def error_of(directory, **settings):
    """Return the line of an error, with the names of files instead of their paths."""
    with pytest.raises(aserve.SettingsError) as error:
        aserve.Settings(directory, **settings)
    return str(error.value).replace(f"{directory.parent}/", "")


def test_what_is_in_a_certificate_is_known(certificates):
    pair = issue(certificates, "a", ("A.test", "*.a.test", "127.0.0.1", "::1"), days=30)
    now = time.time()
    found = check_certificate(CertificateFiles(Path(pair.cert), Path(pair.key)), now)
    assert found.names == ("a.test", "*.a.test")
    assert len(found.addresses) == 2
    assert found.not_after == pytest.approx(now + 30 * DAY, abs=60)
    assert found.not_before == pytest.approx(now - DAY, abs=60)


def test_a_key_may_be_in_the_file_of_its_certificate(directory, pair, certificates):
    both = certificates / "both.pem"
    both.write_text(Path(pair.key).read_text() + Path(pair.cert).read_text())
    settings = aserve.Settings(directory, cert=(str(both),))
    assert settings.certificate_files == (CertificateFiles(both, both),)
    assert error_of(directory, cert=(pair.cert,)) == (
        "cert: 'certificates/first.crt' has no private key in PEM"
    )


def test_the_key_of_another_certificate(directory, pair, certificates):
    other = issue(certificates, "other")
    assert error_of(directory, cert=(pair.cert,), key=(other.key,)) == (
        "key: 'certificates/other.secret' is not the key of 'certificates/first.crt'"
    )
    files = {"cert": (pair.cert, other.cert), "key": (other.key, pair.key)}
    assert "is not the key of" in error_of(directory, **files)


def test_dates(directory, certificates):
    old = issue(certificates, "old", since=-30, days=-1)
    assert "'certificates/old.crt' has expired on 20" in error_of(
        directory, cert=(old.cert,), key=(old.key,)
    )
    new = issue(certificates, "new", since=2, days=30)
    assert "'certificates/new.crt' is not valid before 20" in error_of(
        directory, cert=(new.cert,), key=(new.key,)
    )


def test_a_certificate_of_a_client(directory, certificates):
    pair = issue(certificates, "client", usage=CLIENTS)
    assert error_of(directory, cert=(pair.cert,), key=(pair.key,)) == (
        "cert: 'certificates/client.crt' would be refused by browsers: unsuitable certificate "
        "purpose"
    )


@pytest.mark.parametrize("setting", ["cert", "key"])
def test_files_that_are_not_there(directory, pair, setting):
    file = Path(getattr(pair, setting))
    file.unlink()
    error = error_of(directory, cert=(pair.cert,), key=(pair.key,))
    assert error == f"{setting}: cannot read 'certificates/{file.name}': No such file or directory"


@pytest.mark.parametrize("setting", ["cert", "key"])
def test_files_that_may_not_be_read(certificates, pair, setting, monkeypatch, request):
    monkeypatch.chdir(certificates)  # nobody may not look into the directories above
    file = Path(getattr(pair, setting))
    file.chmod(0)
    request.getfixturevalue("nobody")
    with pytest.raises(CertificateError) as error:
        load_context(CertificateFiles(Path("first.crt"), Path("first.secret")))
    assert error.value.setting == setting
    assert error.value.reason == f"cannot read {file.name!r}: Permission denied"


@pytest.mark.parametrize(
    ("setting", "reason"),
    [("cert", "has no certificate in PEM"), ("key", "has no private key in PEM")],
)
def test_files_with_something_else(directory, pair, setting, reason):
    file = Path(getattr(pair, setting))
    for data in (b"", b"\0\xff" * 99, b"hello"):
        file.write_bytes(data)
        error = error_of(directory, cert=(pair.cert,), key=(pair.key,))
        assert error == f"{setting}: 'certificates/{file.name}' {reason}"


@pytest.mark.parametrize("setting", ["cert", "key"])
def test_files_that_are_damaged(directory, pair, setting):
    file = Path(getattr(pair, setting))
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], "x" * 64, *lines[2:], ""]))
    error = error_of(directory, cert=(pair.cert,), key=(pair.key,))
    assert error.startswith("cert: 'certificates/first.crt' cannot be used: ")
    assert "\n" not in error


def test_a_key_with_a_password(directory, certificates):
    pair = issue(certificates, "locked", password=b"secret")
    assert error_of(directory, cert=(pair.cert,), key=(pair.key,)) == (
        "key: 'certificates/locked.secret' has a password, which a server cannot be asked for"
    )


def test_a_key_is_never_in_what_is_served(directory, tmp_path):
    inside = issue(directory / "sub", "inside")
    files = {"cert": (inside.cert,), "key": (inside.key,)}
    where = "key: 'site/sub/inside.secret' is in"
    assert error_of(directory, **files) == f"{where} 'site', which is served: move the key away"
    link = tmp_path / "link"
    link.symlink_to(directory)
    assert error_of(link, **files) == f"{where} 'link', which is served: move the key away"
    away = issue(tmp_path, "away")
    (directory / "linked").symlink_to(away.key)
    assert "is in 'site'" in error_of(
        directory, cert=(away.cert,), key=(str(directory / "linked"),)
    )
    site = aserve.VirtualHost("a.test", root=directory)
    (tmp_path / "other").mkdir()
    assert "is in 'site'" in error_of(tmp_path / "other", sites=(site,), **files)


def test_a_changed_file_is_read_again(directory, certificates):
    pair = issue(certificates, "a")
    files = {"cert": (pair.cert,), "key": (pair.key,)}
    aserve.Settings(directory, **files)
    issue(certificates, "a", since=-9, days=-1)
    assert "has expired" in error_of(directory, **files)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"cert": ()}, "key: 1 file for 0 certificates: each --cert needs its own"),
        ({"https": True}, "https: makes a certificate of its own; leave out cert"),
        ({"model": "epoll"}, "cert: the model epoll has no TLS"),
        ({"hsts": -1}, "hsts: must be from 0 to 2147483647"),
        ({"http_redirect": 0}, "http_redirect: must be from 1 to 65535"),
        ({"http_redirect": 80}, "http_redirect: needs port"),
        ({"http_redirect": 80, "port": 80}, "http_redirect: must be another port"),
        ({"http_redirect": 80, "cert": (), "key": ()}, "http_redirect: has no effect without"),
        ({"hsts": 60, "cert": (), "key": ()}, "hsts: has no effect without cert or https"),
    ],
)
def test_settings_that_do_not_go_together(directory, pair, changes, error):
    files = {"cert": (pair.cert,), "key": (pair.key,)}
    assert error_of(directory, **{**files, **changes}).startswith(error)


def test_what_is_wrong_is_one_line_of_the_program(directory, pair, capsys):
    with pytest.raises(SystemExit) as end:
        main([str(directory), "--cert", pair.cert, "--key", pair.cert])
    assert end.value.code == 2
    expected = f"aserve: error: --cert: {pair.cert!r} has no private key in PEM\n"
    assert capsys.readouterr().err == expected


def test_a_file_names_certificates_from_where_it_is(directory, certificates, tmp_path):
    pair = issue(certificates, "a")
    file = certificates / "aserve.toml"
    file.write_text('cert = ["a.crt"]\nkey = ["a.secret"]\nhsts = 60\n')
    configuration = read_configuration([str(directory)], {"config": str(file)}, {})
    assert configuration.settings.cert == (pair.cert,)
    assert configuration.settings.key == (pair.key,)
    file.write_text('cert = ["a.crt"]\nkey = [\n  "b.secret"]\n')
    with pytest.raises(aserve.SettingsError, match=r"aserve.toml:3: key: cannot read "):
        read_configuration([str(directory)], {"config": str(file)}, {})


def test_what_is_risky_is_a_warning(directory, certificates):
    soon = issue(certificates, "soon", days=3.5)
    nameless = issue(certificates, "nameless", ())
    options = {"cert": [soon.cert, nameless.cert], "key": [soon.key, nameless.key], "hsts": "9"}
    found = list(find_warnings(read_configuration([str(directory)], options, {})))
    assert ("--cert", f"{soon.cert!r} expires in 3 days") in found
    assert ("--cert", f"{nameless.cert!r} has no name that browsers look at") in found
    assert ("--hsts", "browsers will refuse http on all ports of these host names") in found


@pytest.mark.parametrize(
    ("option", "hint"),
    [("--tls-cert", "use --cert"), ("--ssl-key", "use --key"), ("--ssl", "use --https, or")],
)
def test_options_of_other_servers_lead_to_ours(option, hint, capsys):
    with pytest.raises(SystemExit) as end:
        main([option])
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith(
        f"aserve: error: {option}: there is no such option; {hint}"
    )
