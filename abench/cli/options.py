"""The options that say what a run is to do, for every command that runs one."""

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


def parse_workers(said: object) -> int | None:
    """Return how many processes are wanted, None for one on each core; raises ParameterError."""
    return None if said in {None, "auto"} else quantities.parse_count("--workers", str(said))


Connections = Annotated[
    int,
    typer.Option(
        "--connections",
        "--clients",
        "-c",
        metavar="N",
        parser=quantities.option_parser(quantities.parse_count, "--connections"),
        help="Held open at once: 100, 1k.",
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
        help="How long to load: 30, 500ms, 2m; 10 if no -n.",
    ),
]
Requests = Annotated[
    int | None,
    typer.Option(
        "--requests",
        "-n",
        metavar="N",
        parser=quantities.option_parser(quantities.parse_count, "--requests"),
        help="Exactly so many; with -t, whichever ends first.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        "-w",
        metavar="N|auto",
        parser=parse_workers,
        help="Processes; auto, one per core, if not given.",
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        parser=quantities.option_parser(quantities.parse_seconds, "--timeout"),
        help="Limit for one request.",
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
        help="Requests under way on each connection.",
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
    str, typer.Option("--arrivals", metavar="constant|poisson", help="How they are spaced.")
]
Stages = Annotated[
    str | None,
    typer.Option(
        "--stages", metavar="LIST", help="Rates in turn: 10s@100,30s@1000,ramp:30s@100-5000"
    ),
]
Replay = Annotated[
    Path | None,
    typer.Option(
        "--replay",
        metavar="LOG",
        help="Ask what an access log says (common, combined, JSON), when it says so.",
    ),
]
Speed = Annotated[
    float,
    typer.Option(
        "--speed",
        metavar="FACTOR",
        parser=quantities.option_parser(quantities.factor, "--speed"),
        help="How many times as fast to replay.",
    ),
]
WarmUp = Annotated[
    str | None,
    typer.Option(
        "--warmup", metavar="SECONDS|auto", help="Load this long before the clock starts."
    ),
]
Urls = Annotated[
    Path | None,
    typer.Option(
        "--urls", metavar="FILE", help="Ask for all of these: a line has [WEIGHT] and a URL."
    ),
]
Method = Annotated[
    str | None, typer.Option("--method", "-X", metavar="NAME", help="Instead of GET, or POST.")
]
Headers = Annotated[
    list[str],
    typer.Option(
        "--header",
        "-H",
        metavar="'NAME: VALUE'",
        help="A field of each request; repeatable. No value: leave out what is sent anyway.",
    ),
]
Data = Annotated[
    list[str],
    typer.Option(
        "--data",
        "-d",
        metavar="TEXT|@FILE",
        help="A body, which makes it POST; repeatable, joined by &; {n} is a number.",
    ),
]
Form = Annotated[
    list[str],
    typer.Option(
        "--form", "-F", metavar="NAME=VALUE|NAME=@FILE", help="A form's field; repeatable."
    ),
]
User = Annotated[
    str | None,
    typer.Option("--user", "-u", metavar="NAME:PASSWORD", help="Basic authentication."),
]
Cookies = Annotated[
    list[str], typer.Option("--cookie", "-b", metavar="NAME=VALUE", help="Repeatable.")
]
Expect = Annotated[
    list[str],
    typer.Option(
        "--expect",
        metavar="STATUS|body:TEXT",
        help="What a success is: 200, 2xx, 200,304; repeatable. Below 400 if not given.",
    ),
]
Http10 = Annotated[bool, typer.Option("--http10", help="Ask in HTTP/1.0.")]
Http09 = Annotated[bool, typer.Option("--http09", help="Ask in HTTP/0.9, of a path and no more.")]
Proxy = Annotated[
    str | None,
    typer.Option("--proxy", "-p", metavar="[USER:PASSWORD@]HOST:PORT", help="An HTTP proxy."),
]
Unix = Annotated[
    str | None,
    typer.Option("--unix-socket", metavar="PATH", help="Connect here, whatever the URL's host."),
]
Resolve = Annotated[
    str | None,
    typer.Option("--resolve", metavar="HOST:PORT:ADDRESS", help="Where the URL's host is."),
]
CaCert = Annotated[
    str | None, typer.Option("--cacert", metavar="FILE", help="Whose certificates are trusted.")
]
Cert = Annotated[
    str | None, typer.Option("--cert", metavar="FILE", help="This client's certificate.")
]
Key = Annotated[str | None, typer.Option("--key", metavar="FILE", help="And the key to it.")]
Insecure = Annotated[
    bool, typer.Option("--insecure", "-k", help="Trust whatever certificate is shown.")
]
Sni = Annotated[
    str | None, typer.Option("--sni", metavar="NAME", help="Ask for this name's certificate.")
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
    if replay_log and (urls or data or form):  # before one of them has read what another wants
        raise ParameterError("--replay", "the log says what is asked, and in which order")
    wanted = _weighted_urls(url, urls)
    _refuse_empty(
        {"--method": method, "--stages": stages, "--cacert": cacert, "--cert": cert, "--key": key}
        | {"--sni": sni}
    )
    for option, file in (("--cacert", cacert), ("--cert", cert), ("--key", key)):
        with suppress(OSError, ValueError):  # which is said where it is opened
            inputs.record_input(option, file or "")
    hints.check(url, data, method, proxy, insecure=insecure)
    media_type, body = _request_body(data, form)
    return Plan(
        url=url[0] if url else wanted[0].url,
        urls=wanted,
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
    """Give a command every option that says what to do.

    The command is called with a function that makes the Plan for the URLs it gives, and with its
    own arguments.
    """
    asked = list(inspect.signature(plan_from_options, eval_str=True).parameters.values())[1:]
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    names = {parameter.name for parameter in asked}

    def with_options(**given: Any) -> int:
        said = {name: given.pop(name) for name in names}
        return command(lambda url: plan_from_options(url, **said), **given)

    with_options.__doc__ = command.__doc__
    with_options.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [one.replace(kind=one.KEYWORD_ONLY) for one in (own[0], *asked, *own[1:])],
        return_annotation=int,
    )
    return with_options


def _weighted_urls(urls: list[str], file: Path | None) -> Sequence[WeightedUrl]:
    if file is not None:
        if len(urls) > 1:
            raise ParameterError("--urls", "give the URLs in the file or on the command line")
        return url_file.read_urls(file, urls[0] if urls else None)
    if not urls:
        raise ParameterError("URL", "what is to be loaded is missing")
    return tuple(WeightedUrl(url) for url in urls) if len(urls) > 1 else ()


def _refuse_empty(given: dict[str, str | None]) -> None:
    """Refuse a value that a script's unset variable has left empty: it is not as if not given."""
    for option, value in given.items():
        if value == "":
            raise ParameterError(option, "its value is empty")


def _request_body(data: list[str], form: list[str]) -> request_body.Body:
    if data and form:
        raise ParameterError("--form", "a body is either data or a form")
    if form:
        return request_body.encode_form(form)
    parts = [request_body.read_data(one) for one in data]
    if len(parts) > 1:  # as curl has it
        return request_body.URL_ENCODED, b"&".join(body for _, body in parts)
    return parts[0] if parts else ("", b"")


def _request_headers(
    header: list[str], user: str | None, cookie: list[str], media_type: str, form: list[str]
) -> tuple[Header, ...]:
    """Return the header fields of each request. What two options say in one field is one field."""
    fields = [parse_header(text) for text in header]
    named = {name.lower() for name, _ in fields}
    if user is not None and "authorization" in named:
        raise ParameterError("--user", "-H has an Authorization already: give one of them")
    if form and "content-type" in named and media_type != request_body.URL_ENCODED:
        raise ParameterError("--form", "its Content-Type has a boundary, and is not for -H")
    if user is not None:
        fields.append(("Authorization", request_body.basic_credentials(user)))
    if media_type and "content-type" not in named:
        fields.append(("Content-Type", media_type))
    return _with_cookies(fields, cookie_header(cookie))


def _with_cookies(fields: list[Header], more: tuple[Header, ...]) -> tuple[Header, ...]:
    """Put cookies into the one field that RFC 6265 section 5.4 allows: -H may have some too."""
    if not more:
        return tuple(fields)
    own = [value for name, value in fields if name.lower() == "cookie" and value]
    others = (field for field in fields if field[0].lower() != "cookie")
    return (*others, ("Cookie", "; ".join((*own, *(value for _, value in more)))))


def _check_speed(speed: float, log: Path | None) -> float:
    if speed != 1.0 and log is None:
        raise ParameterError("--speed", "it is for --replay")
    return speed


def _parse_warmup(text: str | None) -> float:
    return 0.0 if text in {None, "auto"} else quantities.parse_seconds("--warmup", text or "")
