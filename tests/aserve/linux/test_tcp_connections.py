"""Which connections are open, as the kernel tells it: of real sockets."""

import socket
from contextlib import closing
from pathlib import Path

import pytest

from aserve.linux.tcp_connections import can_tell, has_connections


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_connections_to_a_port(family: socket.AddressFamily, host: str) -> None:
    with closing(socket.create_server((host, 0), family=family)) as listener:
        port = listener.getsockname()[1]
        assert not has_connections({port})  # one that listens is no connection
        with closing(socket.create_connection((host, port))) as client:
            assert has_connections({port})  # also before it is accepted
            assert has_connections({port, 1})
            accepted, _ = listener.accept()
            assert has_connections({port})
            client.shutdown(socket.SHUT_WR)
            assert accepted.recv(1) == b""
            assert has_connections({port})  # it still reads
            accepted.close()
            assert client.recv(1) == b""
            assert not has_connections({port})


def test_the_end_at_a_client_is_none() -> None:
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as listener,
        closing(socket.create_connection(listener.getsockname())) as client,
    ):
        other = client.getsockname()[1]
        with closing(listener.accept()[0]):
            assert has_connections({other})  # of this port it is the server's end
        assert not has_connections(set())


def test_what_the_kernel_does_not_tell_counts_as_open(tmp_path: Path) -> None:
    assert can_tell()
    assert not can_tell(tmp_path)
    assert has_connections({1}, tmp_path)


def test_a_system_without_ipv6(tmp_path: Path) -> None:
    rest = "00000000:00000000 00:00000000 00000000  0\n"
    lines = (
        f"   0: 0100007F:1F40 0100007F:C350 01 {rest}",
        f"   1: 0100007F:1F40 00000000:0000 0A {rest}",
        f"   2: 0100007F:1F41 00000000:0000 0A {rest}",
    )
    (tmp_path / "tcp").write_text(f"  sl  local_address rem_address   st ...\n{''.join(lines)}")
    assert has_connections({8_000}, tmp_path)
    assert not has_connections({8_001}, tmp_path)


def test_a_port_of_another_network_namespace_is_not_told_of(tmp_path: Path) -> None:
    """As where systemd has opened it for a service with PrivateNetwork=yes."""
    (tmp_path / "tcp").write_text("  sl  local_address rem_address   st ...\n")
    assert has_connections({8_000}, tmp_path)
    assert not has_connections(set(), tmp_path)


@pytest.mark.parametrize("is_abstract", [False, True], ids=["path", "abstract"])
def test_connections_to_a_unix_socket(tmp_path: Path, *, is_abstract: bool) -> None:
    path = f"{tmp_path}/a socket"
    name = f"@aserve-test{path}" if is_abstract else path
    address = f"\0{name[1:]}" if is_abstract else path
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(address)
        listener.listen()
        assert not has_connections({name})
        with closing(socket.socket(socket.AF_UNIX)) as client:
            client.connect(address)
            assert has_connections({name})  # also before it is accepted
            assert not has_connections({f"{name}x"})
            with closing(listener.accept()[0]):
                assert has_connections({name})
            assert not has_connections({name})
