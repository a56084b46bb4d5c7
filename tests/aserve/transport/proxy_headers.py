"""Headers of the PROXY protocol, as its specification describes them, and not as we parse them."""

import socket
import struct

SIGNATURE = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
LOCAL, PROXY = 0x20, 0x21
TCP4, UDP4, TCP6, UDP6, UNIX_STREAM, UNIX_DATAGRAM = 0x11, 0x12, 0x21, 0x22, 0x31, 0x32
SERVER_4, SERVER_6 = "198.51.100.1", "2001:db8::1"


def line(client: str, ports: str = "56324 443") -> bytes:
    """Return a header of version 1 (section 2.1)."""
    family, server = ("TCP6", SERVER_6) if ":" in client else ("TCP4", SERVER_4)
    return f"PROXY {family} {client} {server} {ports}\r\n".encode()


def binary(client: str, more: bytes = b"") -> bytes:
    """Return a header of version 2 (section 2.2). more: follows the addresses."""
    if ":" in client:
        family, byte, server = socket.AF_INET6, TCP6, SERVER_6
    else:
        family, byte, server = socket.AF_INET, TCP4, SERVER_4
    addresses = socket.inet_pton(family, client) + socket.inet_pton(family, server)
    return block(PROXY, byte, addresses + struct.pack(">HH", 56_324, 443) + more)


def block(command: int, family: int, rest: bytes) -> bytes:
    """Return a header of version 2 of which each part is given."""
    return SIGNATURE + bytes((command, family)) + struct.pack(">H", len(rest)) + rest


def tlv(kind: int, value: bytes) -> bytes:
    """Return what may follow addresses: a type, a length, a value (section 2.2)."""
    return struct.pack(">BH", kind, len(value)) + value
