"""What is not needed is not imported (ADR 50). Modules are counted, not the time that they take."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from aserve.handlers.deferred import Deferred
from aserve.handlers.handler import RequestContext

OF_NO_SERVER = {
    *("pydantic", "rich", "webbrowser", "tomllib", "pyexpat", "idna", "markdown_it", "email"),
    *("http.client", "http.server", "multiprocessing", "unittest", "importlib.metadata"),
    *("aserve.explain", "aserve.server.embedded", "aserve.server.setting_warnings"),
    *(
        "aserve.compression.ahead",
        "aserve.compression.encoded_folder",
        "aserve.config.effective",
        "aserve.cli.browser",
    ),
    *("brotli", "backports.zstd", "compression.zstd"),
}
"""Neither `aserve DIR` nor one with options needs these."""

OF_OPTIONS = {"typer", "difflib", "aserve.cli.options", "aserve.cli.parser"}
"""Paths need no parser."""

OFF = {
    *("multipart", "aserve.server.writers", "aserve.handlers.writing.put"),
    *(
        "aserve.handlers.writing.tus",
        "aserve.filesystem.writing.storage",
        "aserve.http.form_parser",
    ),
    *("aserve.policies.cross_origin", "aserve.policies.uploaded_pages"),
    *("aserve.handlers.dav", "aserve.server.live_watch", "aserve.policies.live_reload"),
    *("aserve.filesystem.watched_tree", "aserve.policies.cors", "aserve.policies.router"),
    *("aserve.policies.request_rate", "aserve.access.rates"),
    *("aserve.handlers.trace", "aserve.transport.eventloop.tunnel"),
    *("aserve.handlers.single_page_app", "aserve.handlers.routes"),
    *("aserve.filesystem.content_tags", "aserve.filesystem.combined"),
    *("aserve.filesystem.single_file", "aserve.filesystem.listed"),
    *("aserve.rules.netlify_redirects", "aserve.rules.cloudflare_redirects"),
    *("aserve.observability", "aserve.server.supervisor", "pickle"),
    *("aserve.server.model_worker", "aserve.transport.run_loop", "aserve.transport.models"),
    *("aserve.linux.io_uring", "aserve.linux.posix_aio"),
    *("aserve.transport.proxy_protocol", "aserve.transport.eventloop.header_receiver"),
    "aserve.transport.eventloop.early_connection",
    *("aserve.policies.trusted_proxies", "aserve.http.forwarded"),
    *("aserve.transport.proxied_client", "aserve.transport.eventloop.proxied_cache"),
    *("segno", "aserve.cli.lan", "aserve.cli.qr_code", "aserve.cli.port_file"),
    *("aserve.server.lan_addresses", "aserve.server.multicast_dns", "aserve.server.exposure"),
    *("aserve.server.auto_stop", "aserve.server.downloads", "aserve.linux.tcp_connections"),
    *("aserve.server.shared_authority", "aserve.policies.shared_authority"),
    "aserve.handlers.authority_certificate",
    *("aserve.config.unix_address", "aserve.server.unix_sockets", "aserve.server.activation"),
    *("aserve.server.service_manager", "aserve.server.service_reports"),
    *("sqlite3", "aserve.shares", "aserve.policies.shares", "aserve.server.shares"),
    "aserve.access.shared_view",
}
"""What settings ask for, and which is off."""

OF_FOLDERS = {
    *("aserve.server.folders", "aserve.handlers.folders", "aserve.handlers.listing.handler"),
    *("aserve.handlers.archive.handler", "aserve.handlers.listing.page"),
}
"""What the first directory without an index asks for."""


def those_in(names, prefixes):
    """Return which of the names are one of the prefixes, or in a package that is."""
    return {name for name in names if any(f"{name}.".startswith(f"{one}.") for one in prefixes)}


class Started:
    """A program that says what it imports."""

    def __init__(self, process):
        self._process = process
        self.url = ""
        self.imported = set()
        while not self.url:
            self._read_line()

    def _read_line(self):
        line = self._process.stderr.readline()
        assert line, "the program has ended"
        if line.startswith("import time:"):
            self.imported.add(re.search(r"([\w.]+)$", line)[0])
        elif found := re.search(r"http://\S+", line):
            self.url = found[0]

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=60) as response:
            return response.read()

    def stop(self):
        """Stop it, and return all that it has imported."""
        self._process.send_signal(signal.SIGTERM)
        _, rest = self._process.communicate(timeout=60)
        return self.imported | set(re.findall(r"([\w.]+)$", rest, re.MULTILINE))


@contextmanager
def started(*arguments):
    command = (sys.executable, "-X", "importtime", "-m", "aserve", *arguments)
    # Not measured by coverage.py, which imports tomllib itself.
    names = [name for name in os.environ if not name.startswith("COVERAGE_")]
    environment = {name: os.environ[name] for name in names} | {"ASERVE_PORT": "0"}
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **options) as process:
        try:
            yield Started(process)
        finally:
            process.kill()


def test_a_directory_is_served_without_what_is_off(directory):
    with started(directory) as server:
        assert server.get("a.txt") == b"alpha"
        imported = server.stop()
    assert {"asyncio", "aserve.handlers.static_files", "aserve.cache.response_cache"} <= imported
    assert those_in(imported, OF_NO_SERVER | OF_OPTIONS | OFF | OF_FOLDERS) == set()


def test_a_first_listing_imports_what_listings_are_made_of(directory):
    (directory / "folder").mkdir()
    with started("--listing", "auto", directory) as server:
        assert b"<title>" in server.get("folder/")
        imported = server.stop()
    assert imported >= OF_FOLDERS | OF_OPTIONS
    assert those_in(imported, OF_NO_SERVER | OFF) == set()


SETTINGS = {
    "aserve.handlers.writing.put": {"write": ("/",)},
    "aserve.handlers.dav.propfind": {"dav": True},
    "aserve.policies.cors": {"cors": ("*",)},
    "aserve.policies.request_rate": {"rate": "1/s"},
    "aserve.handlers.single_page_app": {"spa": "a.txt"},
    "aserve.filesystem.content_tags": {"etag": "content"},
    "aserve.handlers.trace": {"allow_trace": True},
    "aserve.transport.eventloop.tunnel": {"allow_connect": ("a.test:1",)},
    "aserve.policies.trusted_proxies": {"proxy_trust": ("unix",)},
    "aserve.policies.router": {"allowed_hosts": ("a.test",)},
    "aserve.rules.netlify_redirects": {"redirects": ("/a /b",)},
    "aserve.handlers.listing.page": {"model": "fork"},  # or each of its processes would import it
}
"""A module of each setting, which no other one of them needs."""

BUILD = """
import sys
from pathlib import Path
from aserve.config.settings import Settings
from aserve.filesystem.mounts import Mounts
from aserve.server.site_factory import build_site

def imported(**settings):
    before = set(sys.modules)
    build_site(Settings(Path(sys.argv[1]), **settings), Mounts())
    return set(sys.modules) - before

imported()
for module, settings in eval(sys.argv[2]).items():
    if module in imported(**settings):
        print(module)
"""


def test_a_setting_imports_what_it_asks_for(directory):
    assert those_in(SETTINGS, OFF | OF_FOLDERS) == set(SETTINGS)
    command = (sys.executable, "-c", BUILD, directory, repr(SETTINGS))
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == list(SETTINGS)


def test_a_part_is_not_made_where_a_request_may_not_wait():
    made = []
    part = Deferred(lambda: made.append(1) or "part")
    with pytest.raises(BlockingIOError):
        part.get(RequestContext(0, may_wait=False))
    assert part.get(RequestContext(0)) == "part"
    assert part.get(RequestContext(0, may_wait=False)) == "part"
    assert made == [1]


def test_a_part_that_many_threads_need_is_made_once():
    made = []
    part = Deferred(lambda: made.append(1) or object())
    with ThreadPoolExecutor(8) as pool:
        parts = set(pool.map(lambda _: part.get(RequestContext(0)), range(100)))
    assert (len(parts), made) == (1, [1])


def test_a_part_that_cannot_be_made_is_made_for_a_later_request():
    """As when there is no descriptor left to read its modules with."""
    results = iter([OSError(24, "Too many open files"), "part"])

    def make():
        result = next(results)
        if isinstance(result, OSError):
            raise result
        return result

    part = Deferred(make)
    with pytest.raises(OSError, match="Too many"):
        part.get(RequestContext(0))
    assert part.get(RequestContext(0)) == "part"
