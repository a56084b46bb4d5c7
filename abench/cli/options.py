"""The options of a load test. Each is declared once: names, value, help, group, completion."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, TypedDict

import typer

from abench.cli import completion
from abench.plan import quantities
from abench.plan.plan import DEFAULT_DURATION_S, Plan

LOAD = "Load"
REQUEST = "Request"
SUCCESS = "Success and gates"
CONNECTION = "TLS, proxy and addresses"
REPORTS = "Reports"
WORKERS = "Workers and server"

_DEFAULTS = {field.name: field.default for field in fields(Plan)}


def declare(
    group: str,
    *names: str,
    value: str | None = None,
    text: str,
    parse: Callable[[str, str], float] | None = None,
    **more: Any,
) -> Any:
    """Return an option of `group`; `parse` is given the option's first name and its text."""
    if parse:
        more["parser"] = quantities.option_parser(parse, names[0])
    return typer.Option(*names, metavar=value, help=text, rich_help_panel=group, **more)


def _default(field: str) -> str:
    default = _DEFAULTS[field]
    return f"{default:g}" if isinstance(default, int | float) else str(default)


def parse_workers(value: object) -> int | None:
    """Return the number of processes, None for one per core; raises ParameterError."""
    return None if value in {None, "auto"} else quantities.parse_count("--workers", str(value))


Workers = Annotated[
    int | None,
    declare(
        WORKERS,
        "--workers",
        "-w",
        value="N|auto",
        text="Processes.",
        show_default="auto, one per core",
        parser=parse_workers,
        autocompletion=completion.workers,
    ),
]


class RunOptions(TypedDict, total=False):
    """The options of a run by name. Those that the user did not give are missing."""

    connections: Annotated[
        int,
        declare(
            LOAD,
            "--connections",
            "--clients",
            "-c",
            value="N",
            text="Connections open at once.",
            show_default=_default("connections"),
            parse=quantities.parse_count,
        ),
    ]
    duration_s: Annotated[
        float,
        declare(
            LOAD,
            "--time",
            "--duration",
            "-t",
            value="SECONDS",
            text="Length, as 500ms or 2m.",
            show_default=f"{DEFAULT_DURATION_S:g} without -n",
            parse=quantities.parse_seconds,
        ),
    ]
    requests: Annotated[
        int,
        declare(
            LOAD,
            "--requests",
            "-n",
            value="N",
            text="Requests, 10k; with -t, whichever ends first.",
            parse=quantities.parse_count,
        ),
    ]
    rate: Annotated[
        float,
        declare(
            LOAD,
            "--rate",
            "-R",
            value="N",
            text="Requests per second on a schedule: 500, 90/m.",
            parse=quantities.parse_rate,
        ),
    ]
    arrivals: Annotated[
        str,
        declare(
            LOAD,
            "--arrivals",
            value="NAME",
            text="Spacing: constant, poisson.",
            show_default=_default("arrivals"),
            autocompletion=completion.arrivals,
        ),
    ]
    stages: Annotated[
        str,
        declare(
            LOAD,
            "--stages",
            value="LIST",
            text="Rates in turn: 10s@100,ramp:30s@100-5000.",
            autocompletion=completion.stages,
        ),
    ]
    replay_log: Annotated[
        Path, declare(LOAD, "--replay", value="LOG", text="Replay a log, or HAR, with its timing.")
    ]
    speed: Annotated[
        float,
        declare(
            LOAD,
            "--speed",
            value="FACTOR",
            text="Speed of the replay.",
            show_default=_default("speed"),
            parse=quantities.factor,
        ),
    ]
    warmup: Annotated[
        str,
        declare(
            LOAD,
            "--warmup",
            value="SECONDS|auto",
            text="Load this long before measuring.",
            show_default=_default("warmup_s"),
            autocompletion=completion.warmups,
        ),
    ]
    pipeline: Annotated[
        int,
        declare(
            LOAD,
            "--pipeline",
            value="N",
            text="Requests in flight per connection.",
            show_default=_default("pipeline"),
            parse=quantities.parse_count,
        ),
    ]
    no_keepalive: Annotated[
        bool, declare(LOAD, "--no-keepalive", text="A new connection for each request.")
    ]
    timeout_s: Annotated[
        float,
        declare(
            LOAD,
            "--timeout",
            value="SECONDS",
            text="Limit of one request.",
            show_default=_default("timeout_s"),
            parse=quantities.parse_seconds,
        ),
    ]
    urls: Annotated[
        Path,
        declare(REQUEST, "--urls", value="FILE", text="Request these; a line is [WEIGHT] URL."),
    ]
    method: Annotated[
        str,
        declare(
            REQUEST,
            "--method",
            "-X",
            value="NAME",
            text="Method.",
            show_default="GET, or POST with a body",
            autocompletion=completion.methods,
        ),
    ]
    header: Annotated[
        list[str],
        declare(
            REQUEST,
            "--header",
            "-H",
            value="NAME:VALUE",
            text="Header, or NAME: to remove it; repeatable.",
            autocompletion=completion.headers,
        ),
    ]
    data: Annotated[
        list[str],
        declare(
            REQUEST,
            "--data",
            "-d",
            value="TEXT|@FILE",
            text="Body; {n} in a TEXT counts up; joined by &.",
        ),
    ]
    form: Annotated[
        list[str],
        declare(
            REQUEST,
            "--form",
            "-F",
            value="NAME=VALUE",
            text="Form field, or NAME=@FILE; repeatable.",
        ),
    ]
    user: Annotated[
        str,
        declare(REQUEST, "--user", "-u", value="NAME:PASSWORD", text="Basic authentication."),
    ]
    cookie: Annotated[
        list[str],
        declare(REQUEST, "--cookie", "-b", value="NAME=VALUE", text="Add a cookie; repeatable."),
    ]
    http10: Annotated[bool, declare(REQUEST, "--http10", text="Use HTTP/1.0.")]
    http09: Annotated[bool, declare(REQUEST, "--http09", text="Use HTTP/0.9: only a path is sent.")]
    expect: Annotated[
        list[str],
        declare(
            SUCCESS,
            "--expect",
            value="STATUS|body:TEXT",
            text="Success: 2xx or 201,204.",
            show_default="below 400",
            autocompletion=completion.expectations,
        ),
    ]
    cacert: Annotated[
        str, declare(CONNECTION, "--cacert", value="FILE", text="CA certificates to trust.")
    ]
    cert: Annotated[str, declare(CONNECTION, "--cert", value="FILE", text="Client certificate.")]
    key: Annotated[
        str, declare(CONNECTION, "--key", value="FILE", text="Key of the client certificate.")
    ]
    insecure: Annotated[
        bool, declare(CONNECTION, "--insecure", "-k", text="Accept any server certificate.")
    ]
    sni: Annotated[
        str, declare(CONNECTION, "--sni", value="NAME", text="TLS server name to request.")
    ]
    tls_resume: Annotated[
        bool,
        declare(CONNECTION, "--tls-resume", text="Resume TLS sessions on new connections."),
    ]
    proxy: Annotated[
        str,
        declare(
            CONNECTION,
            "--proxy",
            "-p",
            value="HOST:PORT",
            text="HTTP proxy; USER:PASSWORD@ may precede.",
        ),
    ]
    unix_socket: Annotated[
        str,
        declare(
            CONNECTION,
            "--unix-socket",
            value="PATH",
            text="Connect to this socket, not to the URL's host.",
        ),
    ]
    resolve: Annotated[
        str,
        declare(
            CONNECTION,
            "--resolve",
            value="HOST:PORT:ADDR",
            text="Use this address for the URL's host.",
        ),
    ]
    workers: Workers
