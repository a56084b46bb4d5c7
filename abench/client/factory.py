"""Which class of connection carries out a plan."""

from abench.client.connection import Connection
from abench.client.one_shot import FireAndForget, OneShot
from abench.client.open_loop import OpenLoop, StagedOpenLoop
from abench.client.pipelined import Pipelined
from abench.client.user import user_class
from abench.plan.plan import Plan


def connection_class(plan: Plan) -> type[Connection]:
    """Return the class of a plan's connections."""
    found = _class_by_requests(plan)
    return user_class(found) if plan.behavior.is_user else found


def _class_by_requests(plan: Plan) -> type[Connection]:
    if plan.pipeline > 1:
        return Pipelined
    if not plan.wait:
        return FireAndForget
    if plan.stages:
        return StagedOpenLoop
    if plan.schedule:
        return OpenLoop
    return Connection if plan.keep_alive else OneShot
