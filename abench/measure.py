"""A run and everything that is known of it: what was counted here, and seen from outside."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from abench import fleet, probes
from abench.plan import Plan
from abench.report.derived import Report, derive
from abench.report.environment import gather
from abench.summary import Summary

Carry = Callable[[Plan, fleet.Watch], Summary]


def measure(  # noqa: PLR0913 - each is another way to look
    plan: Plan,
    watch: fleet.Watch | None = None,
    *,
    server_pids: Iterable[int] = (),
    server_cgroup: str | None = None,
    carry: Carry | None = None,
    arguments: Iterable[str] | None = None,
) -> Report:
    """Carry out `plan` here, or by `carry` on other machines, and return its Report.

    `watch` is called as by `fleet.run`. The processes `server_pids`, or those of a control group,
    are watched as the server's. The report says that it was made by the command with `arguments`,
    which have no secrets in them, or else what of the plan can be told without its own. Raises
    ParameterError and UnreachableError before anything is started.
    """
    server = probes.ServerWatch(server_pids, server_cgroup)
    environment = gather(_told(plan) if arguments is None else arguments)
    kernel = None if carry else probes.read_kernel()
    is_local = False if carry else _is_local(plan)
    pids = (set(server_pids) or _listening(plan)) if is_local else set()

    def look(summary: Summary, elapsed_s: float) -> None:
        server.look()
        if watch:
            watch(summary, elapsed_s)

    summary = (carry or fleet.run)(plan, look)
    return replace(
        derive(plan, summary),
        kernel=probes.kernel_since(kernel),
        server=server.taken(),
        environment=environment,
        is_local=is_local,
        shares_cores=probes.share_cores(pids) if is_local else None,
    )


_TOLD = ("connections", "duration_s", "requests", "method", "keep_alive", "rate", "stages")


def _told(plan: Plan) -> list[str]:
    """Return a plan as arguments: another program's own are none of ours."""
    given = [f"{name}={getattr(plan, name)}" for name in _TOLD if getattr(plan, name) is not None]
    return [plan.target.url, *given]


def _is_local(plan: Plan) -> bool | None:
    """Whether the server is on this machine; None where a proxy alone knows."""
    host, _ = plan.route.endpoint(plan.target)
    if plan.route.proxy is None:
        return plan.route.unix is not None or probes.is_here(host)
    return True if probes.is_here(host) and probes.is_here(plan.target.host) else None


def _listening(plan: Plan) -> set[int]:
    if plan.route.unix is not None:
        return set()
    return probes.listeners(plan.target.port)
