"""npm: installs a package from its URL; what it publishes is a document for a registry."""

import base64
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import urllib3

from tests.clients.running import TIMEOUT_S, RunningServer, program

pytestmark = pytest.mark.slow  # it needs another program


def npm(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run npm in a directory, with a home of its own and no registry."""
    home = directory.parent / "home"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "npm_config_update_notifier": "false",
        "npm_config_registry": "http://127.0.0.1:9/",  # the discard port: nothing is there
    }
    return subprocess.run(
        (program("npm"), *arguments),
        check=False,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=3 * TIMEOUT_S,
    )


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return the directory of a package without dependencies."""
    path = tmp_path / "tiny"
    path.mkdir()
    (path / "package.json").write_text('{"name": "tiny", "version": "1.0.0"}')
    (path / "index.js").write_text("module.exports = 42;\n")
    return path


@pytest.fixture
def server(serve: Callable[..., RunningServer], tmp_path: Path) -> RunningServer:
    (tmp_path / "packages").mkdir()
    return serve(tmp_path / "packages", "--write=add", "--min-free=0")


def test_a_package_that_was_stored_is_installed(
    server: RunningServer, package: Path, tmp_path: Path
) -> None:
    packed = npm(package, "pack", "--json")
    assert packed.returncode == 0, packed.stderr
    data = (package / "tiny-1.0.0.tgz").read_bytes()
    url = f"{server.url}tiny-1.0.0.tgz"
    with urllib3.PoolManager() as pool:
        assert pool.request("PUT", url, body=data).status == 201
    (tmp_path / "project").mkdir()
    (tmp_path / "project/package.json").write_text("{}")
    installed = npm(tmp_path / "project", "install", "--no-audit", "--no-fund", url)
    assert installed.returncode == 0, installed.stderr
    found = tmp_path / "project/node_modules/tiny/index.js"
    assert found.read_text() == "module.exports = 42;\n"


def test_what_is_published_is_one_document_with_the_package(
    server: RunningServer, package: Path, tmp_path: Path
) -> None:
    """It is stored as it is sent: to make files of it is what registries do."""
    token = f"--//{server.address}/:_authToken=any"
    published = npm(package, "publish", "--registry", server.url, token)
    assert published.returncode == 0, published.stderr
    (stored,) = (tmp_path / "packages").iterdir()
    document = json.loads(stored.read_bytes())
    assert (stored.name, document["name"]) == ("tiny", "tiny")
    (attachment,) = document["_attachments"].values()
    assert base64.b64decode(attachment["data"]).startswith(b"\x1f\x8b")  # gzip, RFC 1952
