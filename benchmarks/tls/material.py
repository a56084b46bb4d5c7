"""The certificate of all servers, and what their clients offer: the same of both for everybody."""

import atexit
import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

from benchmarks.processes import NoMeasurement

# Servers prefer different ciphers, and some cannot be told. They all take what a client has.
_CLIENT = """\
openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = client
[client]
MinProtocol = TLSv1.3
Ciphersuites = TLS_AES_128_GCM_SHA256
Groups = X25519
"""


class Material(NamedTuple):
    """Files in PEM, with a key of P-256, and a configuration of OpenSSL for clients."""

    certificate: Path
    key: Path
    client: Path


@cache
def material() -> Material:
    """Make the files, which are removed when this process ends; raises NoMeasurement."""
    directory = tempfile.TemporaryDirectory(prefix="compare-tls-")
    atexit.register(directory.cleanup)
    folder = Path(directory.name)
    folder.chmod(0o755)  # a server that drops root's rights must still read it
    made = Material(folder / "certificate.pem", folder / "key.pem", folder / "client.cnf")
    made.client.write_text(_CLIENT)
    words = [
        *("openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
        *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        *("-keyout", made.key, "-out", made.certificate),
    ]
    try:
        subprocess.run(words, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NoMeasurement(f"openssl made no certificate: {error}") from error
    made.key.chmod(0o644)
    return made


def client_environment() -> dict[str, str]:
    """Return the environment of a client that uses OpenSSL."""
    return os.environ | {"OPENSSL_CONF": str(material().client)}
