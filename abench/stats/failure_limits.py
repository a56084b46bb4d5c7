"""Limits of a server that did not work: its rates are not those of a working one."""

from abench.stats.finding import Finding, quoted_url
from abench.stats.phrases import describe_silence
from abench.stats.results import Results
from abench.stats.units import decimal, significant

HIGH_ERROR_SHARE = 0.05
HIGH_SILENCE_SHARE = 0.05  # of the run
TOO_MANY_REQUESTS = 429  # RFC 6585 section 4


def find_silence(report: Results) -> Finding | None:
    """Find a server that stopped responding for good, or for too long to trust the rates."""
    outage = report.outage
    if outage is None:
        return None
    if not outage.to_the_end and outage.length_s < HIGH_SILENCE_SHARE * report.duration_s:
        return None
    return Finding(
        "silence",
        "sure",
        f"{describe_silence(outage)} The rates are not those of a working server.",
        (
            "Read the server's log of that moment: a crash, a restart, a pause of its runtime.",
            f"Does it still respond? curl -sv -m 5 -o /dev/null {quoted_url(report)}",
        ),
    )


def find_rate_limit(report: Results) -> Finding | None:
    """Find a server that rejects what is beyond its rate, with 429 (RFC 6585 section 4)."""
    rejected = report.status.get(TOO_MANY_REQUESTS, 0)
    share = report.failures["status"] / report.total if report.total else 0.0
    if share < HIGH_ERROR_SHARE or 2 * rejected < report.failed:
        return None
    allowed = decimal(report.pages_per_sec)
    percent = significant(100 * rejected / report.total)
    return Finding(
        "rate-limit",
        "sure",
        f"The server limits the rate: it served {allowed} requests/sec, and rejected {percent} % "
        "of all with 429.",
        (
            f"Measure below the limit: -R {max(1, round(0.8 * report.pages_per_sec))}",
            "To measure the server itself, exempt this client's address from the limit.",
        ),
    )


def find_errors(report: Results) -> Finding | None:
    """Find a server of which many requests failed, or all."""
    found = report.error_share
    if report.succeeded and (found or 0.0) < HIGH_ERROR_SHARE:
        return None
    share = 100 * (1.0 if found is None else found)
    worst = max(report.failures, key=lambda kind: report.failures[kind])
    what = f"{significant(share)} % of requests failed, most of them with {worst}"
    sentence = f"{what}: the rates are not those of a working server."
    return Finding(
        "errors",
        "sure",
        sentence if report.failed else "No request got a response.",
        (
            _NEXT.get(worst, _READ_LOG),
            (
                f"Find the highest load without errors: -c {max(1, report.plan.connections // 2)}, "
                "and so on, with --fail-if 'errors>0'."
            ),
        ),
    )


_READ_LOG = "Read the server's log; `failures` above has what came of the first of each kind."
_NEXT = {
    "connect": "Does it listen there? ss -ltn; a firewall may be in between.",
    "timeout": "If these responses are slow by design, allow more time: --timeout.",
    "reset": "The server ended connections: read its log, and its limits of connections.",
    "tls": "openssl s_client shows what the server offers, and --insecure accepts any certificate.",
}
