"""The command `aserve reload`: a server that runs reads its configuration anew."""

from typing import Annotated

import typer

from aserve.cli.exit_codes import FAILED, OK
from aserve.cli.messages import print_message
from aserve.cli.usage_errors import UsageError
from aserve.config.given import parsed
from aserve.config.names import Source
from aserve.config.values import parse_number
from aserve.server.control_socket import RunningServer, find_servers, request_reload

SECTIONS = {
    "Examples": (
        ("aserve reload", "# the server that runs on this machine"),
        ("aserve reload 8080", "# the one on this port, where several run"),
    )
}

Port = Annotated[
    str | None,
    typer.Argument(
        metavar="PORT",
        rich_help_panel="Arguments",
        help="Which server, where several run.",
        show_default="the only one",
    ),
]


def reload(port: Port = None) -> int:
    """Have a running server read its configuration anew; no request is lost."""
    number = None if port is None else int(parsed(Source("PORT", "PORT"), parse_number, port))
    server = _choose(find_servers(number), number)
    if not server:
        where = f"on port {port}" if port else "on this machine"
        print_message(f"error: no server of this user runs {where}")
        return FAILED
    try:
        reason = request_reload(server)
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        print_message(f"error: {reason}")
    return FAILED if reason else OK


def _choose(servers: list[RunningServer], port: int | None) -> RunningServer | None:
    """Return the server that is meant, None if there is none."""
    if len(servers) > 1:
        raise UsageError(_ambiguous(servers, port))
    return servers[0] if servers else None


def _ambiguous(servers: list[RunningServer], port: int | None) -> str:
    listed = ", ".join(f"{_place(server)} (process {server.pid})" for server in servers)
    if port:
        return f"several servers run on port {port}: {listed}; send SIGHUP to the process"
    return (
        f"several servers run, on the ports {listed}; name one: aserve reload PORT, or send SIGHUP"
        " to its process"
    )


def _place(server: RunningServer) -> str:
    return str(server.port or "of a Unix socket")
