"""The results of a run over TLS: what was spoken, and how many handshakes were made."""

from dataclasses import dataclass
from typing import Annotated

from abench.stats.derivation import Run
from abench.stats.figure import Figure


@dataclass(frozen=True, slots=True)
class Certificate:
    """The certificate of a server."""

    subject: Annotated[
        str, Figure("Subject", "Its common name, or the hosts that it is for if it has none.")
    ]
    issuer: Annotated[str, Figure("Issuer", "The common name of the authority that issued it.")]
    expires_at: Annotated[
        str,
        Figure("Expiry", "Date and time until which it is valid.", schema={"format": "date-time"}),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsResult:
    """What TLS was spoken, and how many handshakes were made; their times are among the phases."""

    version: Annotated[
        str | None,
        Figure("Version", "The version of TLS, such as TLSv1.3. Null if no handshake succeeded."),
    ]
    cipher: Annotated[
        str | None, Figure("Cipher", "OpenSSL's name of the cipher. Null like `version`.")
    ]
    verified: Annotated[
        bool, Figure("Verified", "Whether the server's certificate was verified; see `--insecure`.")
    ]
    certificate: Annotated[
        Certificate | None,
        Figure(
            "Certificate",
            "The server's certificate. Null if it was not verified, and if no handshake succeeded.",
        ),
    ]
    resumption: Annotated[
        bool,
        Figure("Resumption", "Whether new connections could resume sessions; see `--tls-resume`."),
    ]
    full_handshakes: Annotated[
        int,
        Figure(
            "Full handshakes",
            "Connections that were opened while the clock ran, with a full handshake.",
            "connections",
        ),
    ]
    resumed_handshakes: Annotated[
        int,
        Figure(
            "Resumed handshakes",
            "Connections that were opened while the clock ran, and resumed an earlier session.",
            "connections",
        ),
    ]

    @property
    def handshakes(self) -> int:
        """How many connections were opened while the clock ran."""
        return self.full_handshakes + self.resumed_handshakes


def tls_result(run: Run) -> TlsResult | None:
    """Return what TLS was spoken, and how many handshakes were made."""
    if not run.plan.target.tls:
        return None
    found, options = run.summary.handshakes, run.plan.tls
    session = found.session
    return TlsResult(
        version=session.version or None,
        cipher=session.cipher or None,
        verified=not options.insecure,
        certificate=(
            Certificate(session.subject, session.issuer, session.expires_at)
            if session.expires_at
            else None
        ),
        resumption=options.resume,
        full_handshakes=run.summary.phases.handshake.count - found.resumed,
        resumed_handshakes=found.resumed,
    )
