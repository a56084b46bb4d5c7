"""Before a run: the server's address, enough descriptors, and warnings."""

import re
import resource
import ssl
import sys
from dataclasses import replace

from abench.client import connector, tls_errors
from abench.errors import ParameterError, UnreachableError
from abench.plan.plan import Plan
from abench.stats.histogram import Histogram
from abench.stats.summary import Summary
from abench.system import procfs

RESERVED_DESCRIPTORS = 64  # descriptors that a process needs beside its connections
_PIPES_PER_WORKER = 2  # pipe ends in this process: orders and reports
_SSL_LOCATION = re.compile(r"^_ssl\.c:\d+: ")


def resolve(plan: Plan) -> Plan:
    """Connect to the server once and return `plan` with what was found of its address.

    The name is resolved here and nowhere else, so that all workers load the same address; with
    `all_addresses`, all that accept. Raises UnreachableError if no address accepts.
    """
    try:
        accepting = connector.probe(plan)
        first = next(accepting)
        if plan.route.all_addresses:
            addresses = first.address, *(other.address for other in accepting)
            return replace(plan, addresses=addresses, lookup_us=first.lookup_us)
        return replace(plan, **first._asdict())
    except OSError as error:
        host, port = plan.route.endpoint(plan.target)
        raise UnreachableError(plan.route.unix or host, port, _error_reason(error)) from None


def record_lookup(plan: Plan, summary: Summary) -> None:
    """Count how long `resolve` took to look up the address, if it had to."""
    if plan.lookup_us is not None:
        summary.phases.lookup.merge(Histogram.of([plan.lookup_us]))


def _error_reason(error: OSError) -> str:
    """Return the message of TLS or of the operating system as the end of a sentence."""
    if isinstance(error, ssl.SSLError):
        return tls_errors.describe(error).message
    reason = _SSL_LOCATION.sub("", error.strerror or str(error))
    return reason[:1].lower() + reason[1:]


def raise_descriptor_limit(plan: Plan) -> None:
    """Raise the limit of open files to what connections of workers and pipes to them need.

    Raises ParameterError if the hard limit is too low: such a run could only report failures that
    it caused itself.
    """
    workers = plan.processes
    per_worker = -(-plan.connections // workers) + RESERVED_DESCRIPTORS
    own = _PIPES_PER_WORKER * workers + RESERVED_DESCRIPTORS
    limit = _raise_limit(max(per_worker, own))
    if limit < per_worker:
        raise ParameterError(
            "--connections",
            f"{plan.connections} in {workers} worker{'s' * (workers > 1)} need {per_worker} open "
            f"files each, the limit is {limit} (ulimit -Hn)",
        )
    if limit < own:
        raise ParameterError(
            "--workers", f"{workers} need {own} open files, the limit is {limit} (ulimit -Hn)"
        )


def _raise_limit(needed: int) -> int:
    """Raise the soft limit of open files to the hard one if needed; return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed and hard != soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def advice(plan: Plan) -> list[str]:
    """Return the warnings to show before `plan` is carried out, one line each."""
    return [*_port_warnings(plan)]


def _port_warnings(plan: Plan) -> list[str]:
    """Compare the connections that a run without keep-alive opens with the local ports."""
    if plan.keep_alive or plan.route.unix is not None:
        return []
    host, _ = plan.route.endpoint(plan.target)
    ports = procfs.read_ephemeral_ports(loopback=procfs.is_local_address(host))
    if ports.hold_time_s <= 1:
        return []
    budget = f"{ports.count:,} local ports, each held for {ports.hold_time_s:.0f} s, last for"
    if plan.requests and plan.requests <= ports.count:
        return []
    if plan.rate and plan.rate <= ports.per_second:
        return []
    rate = f"{budget} {ports.per_second:,.0f} connections a second"
    return [f"{rate}; connections beyond them fail (net.ipv4.ip_local_port_range, tcp_tw_reuse)"]
