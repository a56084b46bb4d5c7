"""The connections of one worker: those of a plan, or the users of its scenario."""

from collections.abc import Callable

from abench.client import factory
from abench.client.connection_pool import ConnectionPool
from abench.client.connector import Connector
from abench.plan.plan import Plan


def connection_pool(
    plan: Plan, connector: Connector, on_drained: Callable[[], None]
) -> ConnectionPool:
    """Return the connections that carry out a plan; raises ParameterError for its scenario."""
    if plan.scenario is None:
        return ConnectionPool(plan, factory.connection_class(plan), connector, on_drained)
    from abench.scenario.loading import load
    from abench.scenario.user_pool import UserPool

    return UserPool(plan, load(plan.scenario), connector, on_drained)
