"""Servers by HTTPS with a login, whose certificate is that of the local authority.

With TLS of its own, and behind nginx, which has the TLS then.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest

from tests.clients.running import RunningServer, serving
from tests.clients.test_proxies import in_front

USER, PASSWORD, WRONG = "jörg", "pässwörd:1", "wrong"
"""Names and passwords may be of all characters, and only a name has no colon."""
KINDS = ("direct", "behind nginx")


class Place(NamedTuple):
    """A server that clients can reach at a URL, once they trust an authority."""

    url: str
    authority: Path
    server: RunningServer

    @property
    def trust(self) -> dict[str, str]:
        """Environment variables by which clients trust the authority, and no other."""
        names = (
            *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT"),
            *("NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO", "npm_config_cafile", "RCLONE_CA_CERT"),
        )
        return dict.fromkeys(names, str(self.authority))

    def url_with(self, password: str, target: str = "") -> str:
        """Return a URL with a login in it."""
        scheme, rest = self.url.split("://")
        return f"{scheme}://{quote(USER)}:{quote(password, '')}@{rest}{target}"


@contextmanager
def place(kind: str, root: Path, folder: Path, *options: str) -> Iterator[Place]:
    """Serve a directory to one user until the block ends. folder: for all other files."""
    login = ("--auth", f"{USER}:{PASSWORD}", *options)
    data = folder / "data"
    (folder / "proxy").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_DATA_HOME", str(data))
        with serving(root, folder / "log", *login, "--https", "--host", "127.0.0.1") as server:
            authority = data / "aserve/authority.pem"
            if kind == "direct":
                yield Place(f"https://localhost:{server.port}/", authority, server)
                return
    (issued,) = (data / "aserve").glob("server-*.pem")
    for name in ("pair.crt", "pair.secret"):
        (folder / "proxy" / name).write_bytes(issued.read_bytes())
    with (
        serving(root, folder / "log-2", *login, "--proxy-trust", "127.0.0.1") as server,
        in_front("nginx", server.address, folder / "proxy") as port,
    ):
        yield Place(f"https://localhost:{port}/", authority, server)
