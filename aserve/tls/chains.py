"""The order of the certificates in a file: a server's own, and then each one's issuer.

Only the names in them are read. Whether each has signed the one before, a handshake tells.
"""

import ssl
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_VERSION = 0xA0
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


class Names(NamedTuple):
    """The names of a certificate, as they are encoded: equal bytes are the same name."""

    subject: bytes
    issuer: bytes


def certificates_in(text: str) -> list[Names]:
    """Return the names of each certificate of a text in PEM; raises ValueError for another one."""
    blocks = text.split(_BEGIN)[1:]
    return [
        names_in(ssl.PEM_cert_to_DER_cert(f"{_BEGIN}{block.partition(_END)[0]}{_END}"))
        for block in blocks
    ]


def names_in(der: bytes) -> Names:
    """Return the names of a certificate (RFC 5280 section 4.1). Raises ValueError for none."""
    try:
        (certificate,) = _values(der)
        signed = next(_values(certificate))
        values = [each for each in _values(signed, with_tags=True) if each[0] != _VERSION]
    except (IndexError, StopIteration, ValueError):
        raise ValueError("is no certificate") from None
    # serialNumber, signature, issuer, validity, subject
    if len(values) < 5:
        raise ValueError("is no certificate")
    return Names(values[4], values[2])


def right_order(chain: Sequence[Names]) -> list[int]:
    """Return the positions of a server's certificate, of its issuer's, and so on.

    The server's is one that has issued no other one, the first of them. What is no part of the
    chain is left out.
    """
    issuers = {names.issuer for names in chain if names.issuer != names.subject}
    own = next((at for at, names in enumerate(chain) if names.subject not in issuers), 0)
    by_subject = {names.subject: at for at, names in reversed([*enumerate(chain)])}
    order = [own]
    while (at := by_subject.get(chain[order[-1]].issuer)) is not None and at not in order:
        order.append(at)
    return order


def order_error(text: str) -> str:
    """Return what is wrong with the order of the certificates of a text, "" if nothing is.

    RFC 5246 section 7.4.2: each directly certifies the one before. What comes behind the chain is
    not looked at, nor is what cannot be read, of which a handshake tells.
    """
    try:
        chain = certificates_in(text)
    except ValueError:
        return ""
    order = right_order(chain) if chain else []
    if order == [*range(len(order))]:
        return ""
    numbers = ", ".join(str(at + 1) for at in order)
    return f"has its certificates in a wrong order: the right one is {numbers}, as they are there"


def _values(data: bytes, *, with_tags: bool = False) -> Iterator[bytes]:
    """Yield the values in a sequence of DER (X.690 section 8.1), with or without their tags."""
    start = 0
    while start < len(data):
        size, begin = data[start + 1], start + 2
        if size & 0x80:
            begin += size & 0x7F
            size = int.from_bytes(data[start + 2 : begin], "big")
        end = begin + size
        if end > len(data):
            raise IndexError
        yield data[start if with_tags else begin : end]
        start = end
