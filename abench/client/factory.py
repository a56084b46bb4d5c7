"""Which class of connection carries out a plan."""

from abench.client.connection import Connection
from abench.client.one_shot import FireAndForget, OneShot
from abench.client.open_loop import OpenLoop, StagedOpenLoop
from abench.client.pipelined import Pipelined
from abench.client.tls_requests import TlsOneShot, TlsOpenLoop, TlsStagedOpenLoop
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
    opens_tls = plan.target.tls and not plan.keep_alive
    if plan.stages:
        return TlsStagedOpenLoop if opens_tls else StagedOpenLoop
    if plan.schedule:
        return TlsOpenLoop if opens_tls else OpenLoop
    if opens_tls:
        return TlsOneShot
    return Connection if plan.keep_alive else OneShot
