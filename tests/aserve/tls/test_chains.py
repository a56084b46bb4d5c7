"""The order of the certificates in a file, which is told where it is wrong."""

import itertools
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from aserve.config.settings import Settings, SettingsError
from aserve.server.certificates import chain_warnings
from aserve.tls.certificates import CertificateFiles, lacks_issuer
from aserve.tls.chains import names_in, order_error

PEM = serialization.Encoding.PEM
KEYS = [ec.generate_private_key(ec.SECP256R1()) for _ in range(4)]


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certificate(number: int, issuer: int) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name(f"issuer {issuer}"), name(f"issuer {number}"))
    builder = builder.public_key(KEYS[number].public_key()).serial_number(number + 1)
    builder = builder.not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(30))
    ca = x509.BasicConstraints(ca=number > 0, path_length=None)
    return builder.add_extension(ca, critical=True).sign(KEYS[issuer], hashes.SHA256())


CHAIN = [certificate(number, min(number + 1, 3)) for number in range(4)]
"""A server's, two of issuers, and the root, which has issued itself."""


def text_of(order: tuple[int, ...]) -> str:
    return "".join(CHAIN[at].public_bytes(PEM).decode() for at in order)


def files_of(order: tuple[int, ...], folder: Path) -> CertificateFiles:
    file = folder / "chain.pem"
    no_password = serialization.NoEncryption()
    key = KEYS[0].private_bytes(PEM, serialization.PrivateFormat.PKCS8, no_password)
    file.write_text(text_of(order) + key.decode())
    return CertificateFiles(file, file)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_every_other_order_is_told_with_the_right_one(size: int) -> None:
    for order in itertools.permutations(range(size)):
        right = [order.index(at) + 1 for at in range(size)]
        expected = f"wrong order: the right one is {', '.join(map(str, right))}, as"
        error = order_error(text_of(order))
        assert (expected in error) if right != sorted(right) else error == ""


@pytest.mark.parametrize(
    ("order", "numbers"),
    [((0, 0, 1), "1, 3"), ((0, 2, 1), "1, 3, 2"), ((0, 1, 1), ""), ((0, 2), ""), ((3,), "")],
)
def test_what_is_between_is_told_and_what_is_behind_is_not(
    order: tuple[int, ...], numbers: str
) -> None:
    """What is missing is no wrong order."""
    error = order_error(text_of(order))
    assert (f"is {numbers}, as" in error) if numbers else error == ""


@pytest.mark.parametrize("one", CHAIN)
def test_names_are_those_that_a_library_reads(one: x509.Certificate) -> None:
    names = names_in(one.public_bytes(serialization.Encoding.DER))
    assert names == (one.subject.public_bytes(), one.issuer.public_bytes())


@given(st.binary(max_size=60), st.integers(0, 400))
def test_anything_else_is_no_certificate_and_no_crash(data: bytes, cut: int) -> None:
    der = CHAIN[0].public_bytes(serialization.Encoding.DER)
    for broken in (data, der[: min(cut, len(der) - 1)], der[:cut] + data):
        with suppress(ValueError):
            names_in(broken)
    assert order_error("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----") == ""


def test_a_wrong_order_is_one_line_at_the_start(directory: Path, tmp_path: Path) -> None:
    for order in ((1, 0), (0, 2, 1)):
        file = files_of(order, tmp_path).certificate
        with pytest.raises(
            SettingsError, match=r"cert: .* wrong order: the right one is"
        ) as raised:
            Settings(directory, cert=(str(file),))
        assert "\n" not in str(raised.value)
    assert Settings(directory, cert=(str(files_of((0, 1, 2), tmp_path).certificate),)).has_tls


@pytest.mark.parametrize(
    ("order", "lacks"), [((0,), True), ((0, 1), True), ((0, 1, 2), True), ((0, 1, 2, 3), False)]
)
def test_a_chain_without_an_issuer_is_a_warning(
    directory: Path, tmp_path: Path, order: tuple[int, ...], *, lacks: bool
) -> None:
    """The root of this one is in no store of this machine."""
    files = files_of(order, tmp_path)
    assert lacks_issuer(files) == lacks
    settings = Settings(directory, cert=(str(files.certificate),))
    warnings = [text for _, text in chain_warnings(settings)]
    assert any("does not have its issuer's certificate" in text for text in warnings) == lacks
