"""The options of a load test, for every command that runs one."""

import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Concatenate

import typer

from abench.cli import hints
from abench.errors import ParameterError
from abench.plan import inputs, log_replay, quantities, request_body, url_file
from abench.plan.plan import Plan
from abench.plan.request import Header, cookie_header, parse_header
from abench.plan.route import Route, TlsOptions
from abench.plan.success import SuccessCriteria
from abench.plan.url_file import WeightedUrl


def parse_workers(value: object) -> int | None:
    """Return the number of processes, None for one per core; raises ParameterError."""
    return None if value in {None, "auto"} else quantities.parse_count("--workers", str(value))


Connections = Annotated[
    int,
    typer.Option(
        "--connections",
        "--clients",
        "-c",
        metavar="N",
        parser=quantities.option_parser(quantities.parse_count, "--connections"),
        help="Connections open at once: 100, 1k.",
    ),
]
Duration = Annotated[
    float | None,
    typer.Option(
        "--time",
        "--duration",
        "-t",
        metavar="SECONDS",
        parser=quantities.option_parser(quantities.parse_seconds, "--time"),
        help="Length of the run: 30, 500ms, 2m; 10 without -n.",
    ),
]
Requests = Annotated[
    int | None,
    typer.Option(
        "--requests",
        "-n",
        metavar="N",
        parser=quantities.option_parser(quantities.parse_count, "--requests"),
        help="Number of requests; with -t, whichever ends first.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        "-w",
        metavar="N|auto",
        parser=parse_workers,
        help="Processes; default auto, one per core.",
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        parser=quantities.option_parser(quantities.parse_seconds, "--timeout"),
        help="Time limit of one request.",
    ),
]
NoKeepalive = Annotated[
    bool, typer.Option("--no-keepalive", help="A new connection for each request.")
]
Pipeline = Annotated[
    int,
    typer.Option(
        "--pipeline",
        metavar="N",
        parser=quantities.option_parser(quantities.parse_count, "--pipeline"),
        help="Requests in flight on each connection.",
    ),
]
Rate = Annotated[
    float | None,
    typer.Option(
        "--rate",
        "-R",
        metavar="N",
        parser=quantities.option_parser(quantities.parse_rate, "--rate"),
        help="Requests per second, on a schedule.",
    ),
]
Arrivals = Annotated[
    str, typer.Option("--arrivals", metavar="constant|poisson", help="Spacing of requests.")
]
Stages = Annotated[
    str | None,
    typer.Option(
        "--stages", metavar="LIST", help="A list of rates: 10s@100,30s@1000,ramp:30s@100-5000"
    ),
]
Replay = Annotated[
    Path | None,
    typer.Option(
        "--replay",
        metavar="LOG",
        help="Replay an access log (common, combined, JSON) with its timing.",
    ),
]
Speed = Annotated[
    float,
    typer.Option(
        "--speed",
        metavar="FACTOR",
        parser=quantities.option_parser(quantities.factor, "--speed"),
        help="Speed of the replay.",
    ),
]
WarmUp = Annotated[
    str | None,
    typer.Option("--warmup", metavar="SECONDS|auto", help="Load this long before measuring."),
]
Urls = Annotated[
    Path | None,
    typer.Option("--urls", metavar="FILE", help="Request these URLs; each line: [WEIGHT] URL."),
]
Method = Annotated[
    str | None,
    typer.Option(
        "--method", "-X", metavar="NAME", help="Request method; default GET, or POST with a body."
    ),
]
Headers = Annotated[
    list[str],
    typer.Option(
        "--header",
        "-H",
        metavar="'NAME: VALUE'",
        help="Add a header; repeatable. Without a value: remove a default header.",
    ),
]
Data = Annotated[
    list[str],
    typer.Option(
        "--data",
        "-d",
        metavar="TEXT|@FILE",
        help="Request body, implies POST; repeatable, joined by &; {n} is a number.",
    ),
]
Form = Annotated[
    list[str],
    typer.Option("--form", "-F", metavar="NAME=VALUE|NAME=@FILE", help="Form field; repeatable."),
]
User = Annotated[
    str | None,
    typer.Option("--user", "-u", metavar="NAME:PASSWORD", help="Basic authentication."),
]
Cookies = Annotated[
    list[str],
    typer.Option("--cookie", "-b", metavar="NAME=VALUE", help="Add a cookie; repeatable."),
]
Expect = Annotated[
    list[str],
    typer.Option(
        "--expect",
        metavar="STATUS|body:TEXT",
        help="Expected response: 200, 2xx, 200,304; repeatable. Default: below 400.",
    ),
]
Http10 = Annotated[bool, typer.Option("--http10", help="Use HTTP/1.0.")]
Http09 = Annotated[bool, typer.Option("--http09", help="Use HTTP/0.9, which sends only a path.")]
Proxy = Annotated[
    str | None,
    typer.Option("--proxy", "-p", metavar="[USER:PASSWORD@]HOST:PORT", help="Use an HTTP proxy."),
]
Unix = Annotated[
    str | None,
    typer.Option(
        "--unix-socket", metavar="PATH", help="Connect to this socket instead of the URL's host."
    ),
]
Resolve = Annotated[
    str | None,
    typer.Option(
        "--resolve", metavar="HOST:PORT:ADDRESS", help="Use this address for the URL's host."
    ),
]
CaCert = Annotated[
    str | None, typer.Option("--cacert", metavar="FILE", help="CA certificates to trust.")
]
Cert = Annotated[str | None, typer.Option("--cert", metavar="FILE", help="Client certificate.")]
Key = Annotated[
    str | None, typer.Option("--key", metavar="FILE", help="Key of the client certificate.")
]
Insecure = Annotated[bool, typer.Option("--insecure", "-k", help="Accept any server certificate.")]
Sni = Annotated[
    str | None, typer.Option("--sni", metavar="NAME", help="TLS server name to request.")
]


def plan_from_options(
    url: list[str],
    connections: Connections = 10,
    duration_s: Duration = None,
    requests: Requests = None,
    workers: Workers = None,
    timeout_s: Timeout = 10.0,
    no_keepalive: NoKeepalive = False,
    pipeline: Pipeline = 1,
    rate: Rate = None,
    arrivals: Arrivals = "constant",
    stages: Stages = None,
    warmup: WarmUp = None,
    urls: Urls = None,
    replay_log: Replay = None,
    speed: Speed = 1.0,
    method: Method = None,
    header: Headers = [],  # noqa: B006 - typer makes a list of its own
    data: Data = [],  # noqa: B006
    form: Form = [],  # noqa: B006
    user: User = None,
    cookie: Cookies = [],  # noqa: B006
    expect: Expect = [],  # noqa: B006
    http10: Http10 = False,
    http09: Http09 = False,
    proxy: Proxy = None,
    unix_socket: Unix = None,
    resolve: Resolve = None,
    cacert: CaCert = None,
    cert: Cert = None,
    key: Key = None,
    insecure: Insecure = False,
    sni: Sni = None,
) -> Plan:
    """Return the plan that the options describe; raises ParameterError."""
    if replay_log and (
        urls or data or form
    ):  # before one of them reads the standard input of another
        raise ParameterError("--replay", "the log defines the requests and their order")
    weighted_urls = _weighted_urls(url, urls)
    _refuse_empty(
        {"--method": method, "--stages": stages, "--cacert": cacert, "--cert": cert, "--key": key}
        | {"--sni": sni}
    )
    for option, file in (("--cacert", cacert), ("--cert", cert), ("--key", key)):
        with suppress(OSError, ValueError):  # reported where it is opened
            inputs.record_input(option, file or "")
    hints.check(url, data, method, proxy, insecure=insecure)
    media_type, body = _request_body(data, form)
    return Plan(
        url=url[0] if url else weighted_urls[0].url,
        urls=weighted_urls,
        connections=connections,
        duration_s=duration_s,
        requests=requests,
        workers=workers,
        timeout_s=timeout_s,
        keep_alive=not (no_keepalive or http09),
        pipeline=pipeline,
        rate=rate,
        arrivals=arrivals,
        stages=stages,
        warmup_s=_parse_warmup(warmup),
        warmup_auto=warmup == "auto",
        replay=log_replay.read_log(replay_log) if replay_log else None,
        speed=_check_speed(speed, replay_log),
        method=method or ("POST" if media_type else "GET"),
        headers=_request_headers(header, user, cookie, media_type, form),
        body=body,
        http="0.9" if http09 else "1.0" if http10 else "1.1",
        expect=SuccessCriteria.parse(expect),
        route=Route(resolve, proxy, unix_socket),
        tls=TlsOptions(cacert, insecure, cert, key, sni),
    )


Command = Callable[Concatenate[Callable[[list[str]], Plan], ...], int]


def with_run_options(command: Command) -> Callable[..., int]:
    """Add the options of a load test to a command.

    The command is called with a function that returns the Plan for a list of URLs, and with its own
    arguments.
    """
    shared = list(inspect.signature(plan_from_options, eval_str=True).parameters.values())[1:]
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    names = {parameter.name for parameter in shared}

    def with_options(**given: Any) -> int:
        values = {name: given.pop(name) for name in names}
        return command(lambda url: plan_from_options(url, **values), **given)

    with_options.__doc__ = command.__doc__
    with_options.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [one.replace(kind=one.KEYWORD_ONLY) for one in (own[0], *shared, *own[1:])],
        return_annotation=int,
    )
    return with_options


def _weighted_urls(urls: list[str], file: Path | None) -> Sequence[WeightedUrl]:
    if file is not None:
        if len(urls) > 1:
            raise ParameterError("--urls", "give URLs in the file or on the command line, not both")
        return url_file.read_urls(file, urls[0] if urls else None)
    if not urls:
        raise ParameterError("URL", "no URL is given")
    return tuple(WeightedUrl(url) for url in urls) if len(urls) > 1 else ()


def _refuse_empty(given: dict[str, str | None]) -> None:
    """Refuse an empty value, such as from an unset variable of a script."""
    for option, value in given.items():
        if value == "":
            raise ParameterError(option, "the value is empty")


def _request_body(data: list[str], form: list[str]) -> request_body.Body:
    if data and form:
        raise ParameterError("--form", "cannot be combined with --data")
    if form:
        return request_body.encode_form(form)
    parts = [request_body.read_data(one) for one in data]
    if len(parts) > 1:  # joined as curl does
        return request_body.URL_ENCODED, b"&".join(body for _, body in parts)
    return parts[0] if parts else ("", b"")


def _request_headers(
    header: list[str], user: str | None, cookie: list[str], media_type: str, form: list[str]
) -> tuple[Header, ...]:
    """Return the headers of each request; raises ParameterError if two options conflict."""
    headers = [parse_header(text) for text in header]
    named = {name.lower() for name, _ in headers}
    if user is not None and "authorization" in named:
        raise ParameterError("--user", "-H already has an Authorization header: give one of them")
    if form and "content-type" in named and media_type != request_body.URL_ENCODED:
        raise ParameterError("--form", "its Content-Type has a boundary and cannot be set by -H")
    if user is not None:
        headers.append(("Authorization", request_body.basic_credentials(user)))
    if media_type and "content-type" not in named:
        headers.append(("Content-Type", media_type))
    return _with_cookies(headers, cookie_header(cookie))


def _with_cookies(headers: list[Header], cookies: tuple[Header, ...]) -> tuple[Header, ...]:
    """Merge the cookies of -b and -H into the one header that RFC 6265 section 5.4 allows."""
    if not cookies:
        return tuple(headers)
    own = [value for name, value in headers if name.lower() == "cookie" and value]
    others = (one for one in headers if one[0].lower() != "cookie")
    return (*others, ("Cookie", "; ".join((*own, *(value for _, value in cookies)))))


def _check_speed(speed: float, log: Path | None) -> float:
    if speed != 1.0 and log is None:
        raise ParameterError("--speed", "requires --replay")
    return speed


def _parse_warmup(text: str | None) -> float:
    return 0.0 if text in {None, "auto"} else quantities.parse_seconds("--warmup", text or "")
