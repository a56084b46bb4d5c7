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
    line = "   0: 0100007F:1F40 0100007F:C350 01 00000000:00000000 00:00000000 00000000  0\n"
    (tmp_path / "tcp").write_text(f"  sl  local_address rem_address   st ...\n{line}")
    assert has_connections({8_000}, tmp_path)
    assert not has_connections({50_000}, tmp_path)
