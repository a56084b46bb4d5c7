"""Which kind of connection carries a plan."""

from abench.client import Connection
from abench.closing import Closing, Heedless
from abench.paced import Paced, Staged
from abench.pipelined import Pipelined
from abench.plan import Plan


def of(plan: Plan) -> type[Connection]:
    """Return the class of a plan's connections."""
    if plan.pipeline > 1:
        return Pipelined
    if plan.schedule:
        return Staged if plan.stages else Paced
    if not plan.wait:
        return Heedless
    return Connection if plan.keep_alive else Closing
