"""The options for how connections behave, and for which addresses they go to."""

from typing import Annotated

from abench.cli import completion
from abench.cli.options import CONNECTION, RunOptions, declare
from abench.errors import ParameterError
from abench.plan import quantities
from abench.plan.behavior import Behavior, parse_think_time

BEHAVIOR = "Behavior of each connection"


class PlanOptions(RunOptions, total=False):
    """All options of a run by name. Those that the user did not give are missing."""

    think_time: Annotated[
        str,
        declare(
            BEHAVIOR,
            "--think-time",
            value="TIME",
            text="Pause after each response: 2s or 1s-3s.",
            autocompletion=completion.think_times,
        ),
    ]
    requests_per_connection: Annotated[
        int,
        declare(
            BEHAVIOR,
            "--requests-per-connection",
            value="N",
            text="Open it anew after N requests.",
            parse=quantities.parse_count,
        ),
    ]
    bandwidth: Annotated[
        int,
        declare(
            BEHAVIOR,
            "--bandwidth",
            value="BYTES",
            text="Send and receive so much per second: 100k.",
            parse=quantities.parse_count,
        ),
    ]
    follow: Annotated[
        bool, declare(BEHAVIOR, "--follow", text="Follow redirects on the same server.")
    ]
    cookies: Annotated[
        bool, declare(BEHAVIOR, "--cookies", text="Keep the server's cookies, as one user.")
    ]
    all_addresses: Annotated[
        bool,
        declare(CONNECTION, "--all-addresses", text="Spread connections over all of the host's."),
    ]
    ipv4: Annotated[bool, declare(CONNECTION, "--ipv4", "-4", text="Use IPv4 addresses only.")]
    ipv6: Annotated[bool, declare(CONNECTION, "--ipv6", "-6", text="Use IPv6 addresses only.")]


def behavior(options: PlanOptions) -> Behavior:
    """Return how connections behave; raises ParameterError."""
    think_time = options.get("think_time")
    return Behavior(
        think_s=None if think_time is None else parse_think_time(think_time),
        requests_per_connection=options.get("requests_per_connection"),
        bandwidth=options.get("bandwidth"),
        follow=options.get("follow", False),
        cookies=options.get("cookies", False),
    )


def ip_version(options: PlanOptions) -> int | None:
    """Return the only version of IP that may be used, if any; raises ParameterError."""
    if options.get("ipv4") and options.get("ipv6"):
        raise ParameterError("--ipv6", "give only one of -4 and -6: without them, both are used")
    return 4 if options.get("ipv4") else 6 if options.get("ipv6") else None
