"""aserve behind HAProxy and nginx, which say who their clients are, and behind curl, which can."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import aserve
from tests.aserve.tls.issuing import issue
from tests.clients.running import TIMEOUT_S, program, run, skip_missing

pytestmark = pytest.mark.slow  # it needs other programs

CLIENT, OTHER = "127.0.0.5", "127.0.0.6"
STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")


class Origin:
    """A server that expects headers of proxies on this machine, and the lines of its log."""

    def __init__(self, root: Path, **settings: object) -> None:
        self.log: list[str] = []
        trust = {"proxy_protocol": True, "proxy_trust": ("127.0.0.1", "unix")}
        self.server = aserve.Server(root, access_log=self.log.append, **trust, **settings)

    @contextmanager
    def running(self) -> Iterator[int]:
        """Serve until the block ends; yield the port."""
        with self.server:
            yield int(self.server.url.rpartition(":")[2].strip("/"))

    @property
    def clients(self) -> list[str]:
        """The clients that were answered, in order."""
        return [line.partition(" ")[0] for line in self.log]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "a.txt").write_text("alpha")
    return tmp_path / "site"


def curl(*arguments: str, client: str = CLIENT) -> str:
    """Run curl from an address; return what it has received."""
    usual = ("-q", "-sS", "-m", str(TIMEOUT_S), "--interface", client)
    done = run(program("curl"), *usual, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def haproxy(
    directory: Path, target: int | str, sends: str, mode: str = "tcp", bind: str = ""
) -> Iterator[int]:
    """Run HAProxy in front of a port or socket; yield its own port. sends: options of a server."""
    file = directory / "haproxy.cfg"
    address = f"127.0.0.1:{target}" if isinstance(target, int) else target
    with socket.create_server(("127.0.0.1", 0)) as listener:
        file.write_text(
            f"""
defaults
    mode {mode}
    timeout connect {TIMEOUT_S}s
    timeout client {TIMEOUT_S}s
    timeout server {TIMEOUT_S}s
listen all
    bind fd@{listener.fileno()} {bind}
    server aserve {address} {sends}
"""
        )
        command = (program("haproxy"), "-db", "-q", "-f", str(file))
        with subprocess.Popen(command, pass_fds=(listener.fileno(),)) as process:
            try:
                yield listener.getsockname()[1]
            finally:
                process.kill()


@contextmanager
def nginx(directory: Path, target: int) -> Iterator[int]:
    """Run nginx in front of a port, passing TCP on; yield its own."""
    path = program("nginx")
    if not STREAM_MODULE.exists():
        skip_missing("nginx's stream module (apt-get install libnginx-mod-stream)")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    file = directory / "nginx.conf"
    file.write_text(
        f"""
load_module {STREAM_MODULE};
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log stderr;
events {{}}
stream {{
    server {{
        listen 127.0.0.1:{port};
        proxy_pass 127.0.0.1:{target};
        proxy_protocol on;
    }}
}}
"""
    )
    command = (path, "-p", str(directory), "-e", "stderr", "-c", str(file))
    with subprocess.Popen(command) as process:
        try:
            _wait_for(process, port)
            yield port
        finally:
            process.kill()


def _wait_for(process: "subprocess.Popen[bytes]", port: int) -> None:
    """Wait until a process accepts; fail if it ends before."""
    while True:
        assert process.poll() is None
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return


@pytest.mark.parametrize("mode", ["tcp", "http"])
@pytest.mark.parametrize(
    "sends",
    [
        "send-proxy",
        "send-proxy check inter 10ms",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options crc32c,unique-id check inter 10ms",
    ],
)
def test_haproxy_says_who_its_clients_are(
    site: Path, tmp_path: Path, sends: str, mode: str
) -> None:
    origin = Origin(site)
    with origin.running() as port, haproxy(tmp_path, port, sends, mode) as front:
        url = f"http://127.0.0.1:{front}/a.txt"
        assert curl(url, url) == "alphaalpha"
        assert curl(url, client=OTHER) == "alpha"
    assert origin.clients == [CLIENT, CLIENT, OTHER]


def test_haproxy_comes_by_a_unix_socket(site: Path, tmp_path: Path) -> None:
    with TemporaryDirectory() as short:  # HAProxy takes paths of 97 bytes
        path = f"{short}/aserve.sock"
        origin = Origin(site, host=f"unix:{path}")
        with origin.server, haproxy(tmp_path, f"unix@{path}", "send-proxy-v2 check") as front:
            assert curl(f"http://127.0.0.1:{front}/a.txt") == "alpha"
    assert origin.clients == [CLIENT]


def test_haproxy_that_ends_tls_says_more_which_is_skipped(site: Path, tmp_path: Path) -> None:
    pair = issue(tmp_path, "haproxy")
    (tmp_path / "both.pem").write_text(Path(pair.cert).read_text() + Path(pair.key).read_text())
    sends = "send-proxy-v2-ssl-cn proxy-v2-options ssl,cert-cn,cert-key,cert-sig,ssl-cipher"
    bind = f"ssl crt {tmp_path / 'both.pem'}"
    origin = Origin(site)
    with origin.running() as port, haproxy(tmp_path, port, sends, bind=bind) as front:
        assert curl("-k", f"https://127.0.0.1:{front}/a.txt") == "alpha"
    assert origin.clients == [CLIENT]


@pytest.mark.parametrize("sends", ["send-proxy", "send-proxy-v2"])
def test_haproxy_passes_tls_on(site: Path, tmp_path: Path, sends: str) -> None:
    pair = issue(tmp_path, "aserve")
    origin = Origin(site, cert=(pair.cert,), key=(pair.key,))
    with origin.running() as port, haproxy(tmp_path, port, sends) as front:
        assert curl("-k", f"https://127.0.0.1:{front}/a.txt") == "alpha"
    assert origin.clients == [CLIENT]


def test_nginx_says_who_its_clients_are(site: Path, tmp_path: Path) -> None:
    origin = Origin(site)
    with origin.running() as port, nginx(tmp_path, port) as front:
        url = f"http://127.0.0.1:{front}/a.txt"
        assert curl(url, url) == "alphaalpha"
        assert curl(url, client=OTHER) == "alpha"
    assert origin.clients == [CLIENT, CLIENT, OTHER]


def test_curl_says_who_it_is_to_test_a_server(site: Path) -> None:
    origin = Origin(site)
    with origin.running() as port:
        url = f"http://127.0.0.1:{port}/a.txt"
        assert curl("--haproxy-protocol", url, client="127.0.0.1") == "alpha"
        without = run(program("curl"), "-q", "-sS", "-m", str(TIMEOUT_S), url)
        assert (without.returncode, without.stdout) in {(52, ""), (56, "")}  # nothing, or a reset
    assert origin.clients == ["127.0.0.1"]


def test_curl_says_who_others_are(site: Path) -> None:
    if "--haproxy-clientip" not in run(program("curl"), "-q", "--help", "all").stdout:
        pytest.skip("curl has --haproxy-clientip since 8.2")
    origin = Origin(site)
    with origin.running() as port:
        named = ("--haproxy-clientip", "2001:db8::7")
        assert curl(*named, f"http://127.0.0.1:{port}/a.txt", client="127.0.0.1") == "alpha"
    assert origin.clients == ["2001:db8::7"]
