"""The programs that are measured or measure: their versions, and how to install them."""

import functools
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Product:
    """A program that may be missing: its version or None, and how to install it."""

    version: Callable[[], str | None]
    install: str


def debian(program: str, flag: str, package: str = "") -> Product:
    """Return a Debian program, which prints its version when called with a flag."""
    return _program(program, flag, f"sudo apt-get install {package or program}")


def rust(program: str) -> Product:
    """Return a program of crates.io that Debian does not have; building it takes minutes."""
    return _program(program, "--version", f"cargo install --locked {program}")


def _program(program: str, flag: str, install: str) -> Product:
    def told() -> str | None:
        if (path := where(program)) is None:
            return None
        said = subprocess.run([path, flag], capture_output=True, text=True, check=False)
        found = re.search(r"\d+(\.\d+)+", said.stdout + said.stderr)
        return found[0] if found else "of unknown version"

    return Product(told, install)


def python(package: str) -> Product:
    """Return a Python package of the group `compare`."""

    def told() -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    return Product(told, "python -m pip install --group compare")


def where(program: str) -> str | None:
    """Return the path of a program, which may be in a directory for root only, or cargo's."""
    if program == "python":
        return sys.executable
    others = (f"/usr/sbin/{program}", Path.home() / ".cargo" / "bin" / program)
    return next(filter(None, map(shutil.which, (program, *others))), None)


_DEFLATE_MODULE = Path("/usr/lib/lighttpd/mod_deflate.so")
PYTHONS = ("3.12", "3.13", "3.14")
"""Releases of CPython beside the one that measures."""

NEWEST = "3.13"
"""The release for which uringcore has a wheel."""

_URINGCORE_VERSION = "import importlib.metadata as m; print(m.version('uringcore'))"


def interpreter(release: str) -> str:
    """Return the path of a release of CPython that has aserve, beneath the repository."""
    return f".venv-{release}/bin/python"


def _cpython(release: str) -> Product:
    venv = f".venv-{release}"
    install = f"make VENV={venv} PYTHON=python{release} {venv}/.run"
    return Product(lambda: _said(interpreter(release), "--version"), install)


def _said(path: str, *arguments: str) -> str | None:
    """Return the version that a program beneath the repository prints; None if it is missing."""
    root = Path(__file__).parent.parent
    if not (root / path).exists():
        return None
    asked = [root / path, *arguments]
    said = subprocess.run(asked, capture_output=True, text=True, check=False)
    return None if said.returncode else said.stdout.split()[-1]


BROTLI_MODULE = Path("/usr/lib/nginx/modules/ngx_http_brotli_filter_module.so")
"""Debian's, which a configuration has to load by its path."""

_KERNEL = Path("/proc/sys/net/ipv4/tcp_available_ulp")


def _kernel_tls() -> str | None:
    """Return nginx's version where the kernel can encrypt for it."""
    protocols = _KERNEL.read_text().split() if _KERNEL.exists() else []
    return PRODUCTS["nginx"].version() if "tls" in protocols else None


PRODUCTS = {
    "aserve": Product(lambda: version("aserve-http"), "make run"),
    "python": Product(lambda: sys.version.split()[0], ""),
    "nginx": debian("nginx", "-v"),
    "lighttpd": debian("lighttpd", "-v"),
    "h2o": debian("h2o", "--version"),
    "caddy": debian("caddy", "version"),
    "dufs": rust("dufs"),
    "miniserve": rust("miniserve"),
    "granian": python("granian"),
    "starlette": python("starlette"),
    "uvicorn": python("uvicorn"),
    "aiohttp": python("aiohttp"),
    "uvloop": python("uvloop"),
    "wrk": debian("wrk", "-v"),
    "ab": debian("ab", "-V", "apache2-utils"),
    "h2load": debian("h2load", "--version", "nghttp2-client"),
    "hey": Product(
        lambda: "of unknown version" if where("hey") else None, "sudo apt-get install hey"
    ),
    "nginx brotli": Product(
        lambda: "of unknown version" if BROTLI_MODULE.exists() else None,
        "sudo apt-get install libnginx-mod-http-brotli-filter",
    ),
    "nginx ktls": Product(_kernel_tls, "modprobe tls, if the kernel has the module"),
    "lighttpd deflate": Product(
        lambda: "of unknown version" if _DEFLATE_MODULE.exists() else None,
        "sudo apt-get install lighttpd-mod-deflate",
    ),
    "chromium": debian("chromium", "--version"),
    "chromedriver": debian("chromedriver", "--version", "chromium-driver"),
    "selenium": python("selenium"),
    "rloop": python("rloop"),
    "uringcore": Product(
        lambda: _said(interpreter(NEWEST), "-c", _URINGCORE_VERSION),
        f"{interpreter(NEWEST)} -m pip install uringcore",
    ),
    **{f"CPython {release}": _cpython(release) for release in PYTHONS},
}


@functools.cache
def versions() -> dict[str, str]:
    """Return the version of each product that is installed."""
    return {name: told for name, one in PRODUCTS.items() if (told := one.version())}
