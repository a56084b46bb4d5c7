"""A run and its results: the counts of the workers, and what the system shows of the run."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from abench.plan.plan import Plan
from abench.runner import coordinator
from abench.stats.derivation import server_result
from abench.stats.environment import Environment
from abench.stats.results import Results, build_results
from abench.stats.so_far import counts_so_far
from abench.stats.summary import REPORT_INTERVAL_S, Summary
from abench.system import procfs
from abench.system.server_monitor import ServerMonitor

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
    return Measurement(
        plan,
        server_pids=server_pids,
        server_cgroup=server_cgroup,
        runner=runner,
        arguments=arguments,
        with_environment=with_environment,
    ).run(watcher)


class Measurement:
    """A run of `plan` with what is observed beside it; the parameters are those of `measure`.

    Making one reads what the run is compared with, so it should be made right before `run`.
    """

    def __init__(  # noqa: PLR0913 - each is another source of figures
        self,
        plan: Plan,
        *,
        server_pids: Iterable[int] = (),
        server_cgroup: str | None = None,
        runner: Runner | None = None,
        arguments: Iterable[str] | None = None,
        with_environment: bool = True,
    ) -> None:
        self.plan, self._runner = plan, runner
        self._server = ServerMonitor(server_pids, server_cgroup)
        self._environment = _read_environment(plan, arguments) if with_environment else None
        self._kernel = None if runner else procfs.read_tcp_counters()
        self._is_local = False if runner else _is_local(plan)
        self._pids = (set(server_pids) or _server_pids(plan)) if self._is_local else set()

    def run(self, watcher: coordinator.Watcher | None = None) -> Results:
        """Carry out the plan; `watcher` is called as by `coordinator.run`."""
        sampled_s = 0.0  # before the start, the server waits: that is no sample of the run

        def watch(summary: Summary, elapsed_s: float) -> None:
            nonlocal sampled_s
            if elapsed_s >= sampled_s + REPORT_INTERVAL_S:  # each of many workers calls as often
                sampled_s = elapsed_s
                self._server.sample()
            if watcher:
                watcher(summary, elapsed_s)

        return self._results((self._runner or coordinator.run)(self.plan, watch))

    def results_so_far(self, summary: Summary, elapsed_s: float) -> Results:
        """Return the results as of `elapsed_s` after the start, for a watcher; without seconds."""
        return self._results(counts_so_far(self.plan, summary, elapsed_s))

    def _results(self, summary: Summary) -> Results:
        return replace(
            build_results(self.plan, summary),
            kernel=procfs.tcp_counters_since(self._kernel),
            server=server_result(self._server.result(), summary),
            environment=self._environment,
            is_local=self._is_local,
            shares_cores=procfs.shares_cores(self._pids) if self._is_local else None,
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


def _server_pids(plan: Plan) -> set[int]:
    if plan.route.unix is not None:
        return set()
    return procfs.listening_pids(plan.target.port)
