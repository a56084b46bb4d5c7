"""A run and everything that is known of it: what was counted here, and seen from outside."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from abench.plan.plan import Plan
from abench.run import coordinator
from abench.stats.environment import read_environment
from abench.stats.results import Report, build_report
from abench.stats.summary import Summary
from abench.system import procfs

Runner = Callable[[Plan, coordinator.Watcher], Summary]


def measure(  # noqa: PLR0913 - each is another way to look
    plan: Plan,
    watcher: coordinator.Watcher | None = None,
    *,
    server_pids: Iterable[int] = (),
    server_cgroup: str | None = None,
    runner: Runner | None = None,
    arguments: Iterable[str] | None = None,
) -> Report:
    """Carry out `plan` here, or by `carry` on other machines, and return its Report.

    `watch` is called as by `fleet.run`. The processes `server_pids`, or those of a control group,
    are watched as the server's. The report says that it was made by the command with `arguments`,
    which have no secrets in them, or else what of the plan can be told without its own. Raises
    ParameterError and UnreachableError before anything is started.
    """
    server = procfs.ServerMonitor(server_pids, server_cgroup)
    environment = read_environment(_plan_arguments(plan) if arguments is None else arguments)
    kernel = None if runner else procfs.read_tcp_counters()
    is_local = False if runner else _is_local(plan)
    pids = (set(server_pids) or _server_pids(plan)) if is_local else set()

    def look(summary: Summary, elapsed_s: float) -> None:
        server.sample()
        if watcher:
            watcher(summary, elapsed_s)

    summary = (runner or coordinator.run)(plan, look)
    return replace(
        build_report(plan, summary),
        kernel=procfs.tcp_counters_since(kernel),
        server=server.result(),
        environment=environment,
        is_local=is_local,
        shares_cores=procfs.shares_cores(pids) if is_local else None,
    )


_RECORDED = ("connections", "duration_s", "requests", "method", "keep_alive", "rate", "stages")


def _plan_arguments(plan: Plan) -> list[str]:
    """Return a plan as arguments: another program's own are none of ours."""
    given = [
        f"{name}={getattr(plan, name)}" for name in _RECORDED if getattr(plan, name) is not None
    ]
    return [plan.target.url, *given]


def _is_local(plan: Plan) -> bool | None:
    """Whether the server is on this machine; None where a proxy alone knows."""
    host, _ = plan.route.endpoint(plan.target)
    if plan.route.proxy is None:
        return plan.route.unix is not None or procfs.is_local_address(host)
    return (
        True
        if procfs.is_local_address(host) and procfs.is_local_address(plan.target.host)
        else None
    )


def _server_pids(plan: Plan) -> set[int]:
    if plan.route.unix is not None:
        return set()
    return procfs.listening_pids(plan.target.port)
