"""Warnings before a run about what will not work as expected."""

from abench.plan.plan import Plan
from abench.system import procfs


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
