"""Makes a Plan of the options of a load test."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, Unpack, get_type_hints

from abench.cli import hints, user_options
from abench.cli.options import RunOptions
from abench.cli.user_options import PlanOptions
from abench.errors import ParameterError
from abench.plan import inputs, log_replay, quantities, request_body, url_file
from abench.plan.body_template import BodyTemplate
from abench.plan.plan import Plan
from abench.plan.request import Header, cookie_header, parse_header
from abench.plan.route import Route, TlsOptions
from abench.plan.success import SuccessCriteria
from abench.plan.target import Target
from abench.plan.url_file import WeightedUrl

_PLAN_FIELDS = (
    *("connections", "duration_s", "requests", "workers", "timeout_s", "pipeline"),
    *("rate", "arrivals", "stages", "speed"),
)
"""The options that are fields of Plan as they are."""
_FILES = ("cacert", "cert", "key")
_NEVER_EMPTY = ("method", "stages", "sni", *_FILES)


@dataclass(frozen=True, slots=True)
class GivenOptions:
    """The options of a load test that the user gave; called with URLs, it returns their Plan."""

    options: RunOptions

    def __call__(self, url: list[str], **instead: Unpack[RunOptions]) -> Plan:
        """Return the Plan, with other options for some; raises ParameterError."""
        options: RunOptions = {**self.options, **instead}
        return plan_from_options(url, **options)


Command = Callable[Concatenate[GivenOptions, ...], int]


def with_run_options(
    command: Command, without: Collection[str] = frozenset()
) -> Callable[..., int]:
    """Add the options of a load test to a command, except for those that make no sense for it.

    The command is called with GivenOptions, a function that returns the Plan for a list of URLs,
    and with its own arguments. It is `__wrapped__` of what is returned.
    """
    hints = get_type_hints(PlanOptions, include_extras=True)
    types = {name: hint for name, hint in hints.items() if name not in without}
    shared = [_parameter(name, hint) for name, hint in types.items()]
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]

    def with_shared(**given: Any) -> int:
        values = {name: given.pop(name) for name in types}
        options: Any = {name: value for name, value in values.items() if _is_given(value)}
        return command(GivenOptions(options), **given)

    with_shared.__doc__ = command.__doc__
    with_shared.__wrapped__ = command  # type: ignore[attr-defined]
    with_shared.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [one.replace(kind=one.KEYWORD_ONLY) for one in (own[0], *shared, *own[1:])],
        return_annotation=int,
    )
    return with_shared


def _parameter(name: str, hint: Any) -> inspect.Parameter:
    default = False if hint.__origin__ is bool else None
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def _is_given(value: object) -> bool:
    """Whether the user gave an option. An empty text and 0 were given."""
    return value is not None and value is not False and value not in ([], ())


def plan_from_options(url: list[str], **options: Unpack[PlanOptions]) -> Plan:
    """Return the plan that the options describe; raises ParameterError."""
    log = options.get("replay_log")
    _check_replay(options)  # before one of them reads the standard input of another
    weighted_urls = _weighted_urls(url, options.get("urls"))
    _refuse_empty(options)
    _record_files(options)
    hints.check(url, options)
    media_type, body = _request_body(options.get("data", []), options.get("form", []))
    passed: dict[str, Any] = {name: one for name, one in options.items() if name in _PLAN_FIELDS}
    return Plan(
        url=url[0] if url else weighted_urls[0].url,
        urls=weighted_urls,
        keep_alive=not (options.get("no_keepalive") or options.get("http09")),
        warmup_s=_parse_warmup(options.get("warmup")),
        warmup_auto=options.get("warmup") == "auto",
        replay=log_replay.read_log(log, _host(url)) if log else None,
        method=options.get("method", "POST" if media_type else "GET"),
        headers=_request_headers(options, media_type),
        body=body,
        http="0.9" if options.get("http09") else "1.0" if options.get("http10") else "1.1",
        expect=SuccessCriteria.parse(options.get("expect", [])),
        behavior=user_options.behavior(options),
        route=_route(options),
        tls=_tls(options),
        **passed,
    )


def _host(url: list[str]) -> str | None:
    """Return the host of the server to be loaded."""
    return Target.parse(url[0]).host if url else None


def _check_replay(options: RunOptions) -> None:
    is_replay = "replay_log" in options
    if is_replay and options.keys() & {"urls", "data", "form"}:
        raise ParameterError("--replay", "the log defines the requests and their order")
    if options.get("speed", 1.0) != 1.0 and not is_replay:
        raise ParameterError("--speed", "requires --replay")


def _record_files(options: RunOptions) -> None:
    """Note which files are read, so that no report overwrites one."""
    for name in _FILES:
        with suppress(OSError, ValueError):  # reported where it is opened
            inputs.record_input(f"--{name}", str(options.get(name, "")))


def _route(options: PlanOptions) -> Route:
    return Route(
        options.get("resolve"),
        options.get("proxy"),
        options.get("unix_socket"),
        user_options.ip_version(options),
        options.get("all_addresses", False),
    )


def _tls(options: RunOptions) -> TlsOptions:
    return TlsOptions(
        options.get("cacert"),
        options.get("insecure", False),
        options.get("cert"),
        options.get("key"),
        options.get("sni"),
        options.get("tls_resume", False),
    )


def _weighted_urls(urls: list[str], file: Path | None) -> Sequence[WeightedUrl]:
    if file is not None:
        if len(urls) > 1:
            raise ParameterError("--urls", "give URLs in the file or on the command line, not both")
        return url_file.read_urls(file, urls[0] if urls else None)
    if not urls:
        raise ParameterError("URL", "no URL is given; see abench --help")
    return tuple(WeightedUrl(url) for url in urls) if len(urls) > 1 else ()


def _refuse_empty(options: Mapping[str, object]) -> None:
    """Refuse an empty value, such as from an unset variable of a script."""
    for name in _NEVER_EMPTY:
        if options.get(name) == "":
            raise ParameterError(f"--{name}", "the value is empty")


def _request_body(data: list[str], form: list[str]) -> request_body.Body:
    if data and form:
        raise ParameterError("--form", "cannot be combined with --data")
    if form:
        return request_body.encode_form(form)
    parts = [request_body.read_data(one) for one in data]
    if len(parts) > 1:  # joined as curl does
        separated = [each for _, body in parts for each in (BodyTemplate.literal(b"&"), body)]
        return request_body.URL_ENCODED, BodyTemplate.join(separated[1:])
    return parts[0] if parts else ("", BodyTemplate())


def _request_headers(options: RunOptions, media_type: str) -> tuple[Header, ...]:
    """Return the headers of each request; raises ParameterError if two options conflict."""
    user = options.get("user")
    headers = [parse_header(text) for text in options.get("header", [])]
    named = {name.lower() for name, _ in headers}
    if user is not None and "authorization" in named:
        raise ParameterError("--user", "-H already has an Authorization header: give one of them")
    if options.get("form") and "content-type" in named and media_type != request_body.URL_ENCODED:
        raise ParameterError("--form", "its Content-Type has a boundary and cannot be set by -H")
    if user is not None:
        headers.append(("Authorization", request_body.basic_credentials(user)))
    if media_type and "content-type" not in named:
        headers.append(("Content-Type", media_type))
    return _with_cookies(headers, cookie_header(options.get("cookie", [])))


def _with_cookies(headers: list[Header], cookies: tuple[Header, ...]) -> tuple[Header, ...]:
    """Merge the cookies of -b and -H into the one header that RFC 6265 section 5.4 allows."""
    if not cookies:
        return tuple(headers)
    own = [value for name, value in headers if name.lower() == "cookie" and value]
    others = (one for one in headers if one[0].lower() != "cookie")
    return (*others, ("Cookie", "; ".join((*own, *(value for _, value in cookies)))))


def _parse_warmup(text: str | None) -> float:
    return 0.0 if text in {None, "auto"} else quantities.parse_seconds("--warmup", text or "")
