"""Where the local authority and the certificates that it has issued are kept."""

import os
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path

from aserve.tls.certificates import CertificateFiles


def data_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the directory of this user's data (XDG Base Directory Specification)."""
    home = environment.get("XDG_DATA_HOME", "")
    # A relative path is invalid there, and is ignored.
    base = Path(home) if Path(home).is_absolute() else Path.home() / ".local" / "share"
    return base / "aserve"


def issued_files(hosts: Iterable[str]) -> CertificateFiles:
    """Return the file of the certificate and key for the hosts of a server, besides the machine's.

    Servers with other hosts have other files. One file has both, so that one rename replaces both.
    """
    digest = sha256("\n".join(sorted(hosts)).encode()).hexdigest()[:12]
    file = data_directory() / f"server-{digest}.pem"
    return CertificateFiles(file, file)
