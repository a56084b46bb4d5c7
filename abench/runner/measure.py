"""A run and its results: the counts of the workers, and what the system shows of the run."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from abench.plan.plan import Plan
from abench.runner import coordinator
from abench.stats.derivation import server_result
from abench.stats.environment import Environment
from abench.stats.results import Results, build_results
from abench.stats.summary import Summary
from abench.system import procfs

Runner = Callable[[Plan, coordinator.Watcher], Summary]


def measure(  # noqa: PLR0913 - each is another source of figures
    plan: Plan,
    watcher: coordinator.Watcher | None = None,
    *,
    server_pids: Iterable[int] = (),
    server_cgroup: str | None = None,
    runner: Runner | None = None,
    arguments: Iterable[str] | None = None,
    with_environment: bool = True,
) -> Results:
    """Carry out `plan` here, or with `runner` on other machines, and return its results.

    `watcher` is called as by `coordinator.run`. The processes `server_pids`, or those of a control
    group, are monitored as the server. The report has `arguments` as its command, which must
    contain no secrets; without them, it has those of the plan that cannot be secret; without
    `with_environment`, it has no environment. Raises ParameterError and UnreachableError before
    anything is started.
    """
    server = procfs.ServerMonitor(server_pids, server_cgroup)
    environment = _read_environment(plan, arguments) if with_environment else None
    kernel = None if runner else procfs.read_tcp_counters()
    is_local = False if runner else _is_local(plan)
    pids = (set(server_pids) or _listening_pids(plan)) if is_local else set()

    def watch(summary: Summary, elapsed_s: float) -> None:
        server.sample()
        if watcher:
            watcher(summary, elapsed_s)

    summary = (runner or coordinator.run)(plan, watch)
    return replace(
        build_results(plan, summary),
        kernel=procfs.tcp_counters_since(kernel),
        server=server_result(server.result(), summary),
        environment=environment,
        is_local=is_local,
        shares_cores=procfs.shares_cores(pids) if is_local else None,
    )


def _read_environment(plan: Plan, arguments: Iterable[str] | None) -> Environment:
    from abench.runner.environment import read_environment

    return read_environment(_plan_arguments(plan) if arguments is None else arguments)


_SHOWN_SETTINGS = (
    "connections",
    "duration_s",
    "requests",
    "method",
    "keep_alive",
    "rate",
    "stages",
)


def _plan_arguments(plan: Plan) -> list[str]:
    """Return a plan as arguments: those of the calling program are not ours to show."""
    settings = [
        f"{name}={getattr(plan, name)}"
        for name in _SHOWN_SETTINGS
        if getattr(plan, name) is not None
    ]
    return [plan.target.url, *settings]


def _is_local(plan: Plan) -> bool | None:
    """Whether the server is on this machine; None if only a proxy knows."""
    host, _ = plan.route.endpoint(plan.target)
    if plan.route.proxy is None:
        return plan.route.unix is not None or procfs.is_local_address(host)
    return (
        True
        if procfs.is_local_address(host) and procfs.is_local_address(plan.target.host)
        else None
    )


def server_pids_of(plan: Plan) -> set[int]:
    """Return the processes of a server on this machine, as far as this user may see them."""
    return _listening_pids(plan) if _is_local(plan) else set()


def _listening_pids(plan: Plan) -> set[int]:
    if plan.route.unix is not None:
        return set()
    return procfs.listening_pids(plan.target.port)
