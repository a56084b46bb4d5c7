"""docs/tls-speed.md: what TLS costs aserve and other servers."""

from pathlib import Path

from benchmarks import rounds
from benchmarks.results import Result
from benchmarks.tls.works import ROWS

PAGE = Path("docs/tls-speed.md")
NAMES = tuple(work.name for work in ROWS)

_INTRODUCTION = """\
# The speed of TLS, measured

<!-- Written by: python -m benchmarks --render, from benchmarks/results. Do not edit it here. -->

What [HTTPS](https.md) costs aserve beside other servers: requests on open connections, handshakes,
other clients beside handshakes, and memory. [ADR 62](adr/0062-speed-of-tls.md) says why aserve is
built as it is.

- All have the same certificate with a key of P-256. Their clients offer TLS 1.3 with
  TLS_AES_128_GCM_SHA256 and X25519 alone, so that all servers speak the same.
- *aserve tls* is aserve with `--cert` and `--key` and its defaults. *nginx ktls* encrypts in the
  kernel; it is left out where the kernel was built without TLS.
- Load generators verify no certificate. What is measured is the processor time of the server.

As everywhere, servers run side by side and are loaded in turns: [how](comparison-rounds.md).
Figures are medians, with the lowest and the highest round in parentheses.
`python -m benchmarks.tls` measures all of it.
"""


def page(found: dict[str, Result]) -> str:
    """Return the page."""
    if not found:
        return f"{_INTRODUCTION}\nNot measured yet.\n"
    sections = [rounds.section(result) for result in found.values()]
    parts = [_INTRODUCTION, *sections, rounds.conditions(found), rounds.commands(found)]
    return "\n".join(part for part in parts if part)
