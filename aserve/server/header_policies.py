"""From settings to the headers of responses: rules by path, and what other sites' pages may do."""

from collections.abc import Iterable, Iterator
from functools import partial

from aserve.config.headers import parse_header_rules
from aserve.config.settings import Settings
from aserve.handlers.cache_control import (
    IMMUTABLE,
    NO_CACHE,
    CacheControl,
    by_name,
    for_seconds,
    unless,
)
from aserve.handlers.handler import Note
from aserve.handlers.writing.areas import WriteAreas
from aserve.http.header_changes import HeaderChange
from aserve.http.messages import NOSNIFF, Header, Headers
from aserve.http.origins import Origins
from aserve.http.request_target import TargetPath
from aserve.policies.header_rules import HeaderRule, header_policies
from aserve.policies.policy import Policy

_EVERYTHING = "/*"

_SECURITY: Headers = (
    NOSNIFF,
    ("X-Frame-Options", "SAMEORIGIN"),
    ("Content-Security-Policy", "frame-ancestors 'self'"),
    ("Referrer-Policy", "strict-origin-when-cross-origin"),
)
"""What breaks no page of its own. What a page may load, only its author can say."""

_ISOLATION: Headers = (
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Embedder-Policy", "require-corp"),
)


def build_header_rules(settings: Settings) -> Iterator[Policy]:
    """Yield the policies of the rules that settings have: nothing comes after them."""
    yield from header_policies(
        _rules(settings),
        list(_defaults(settings)),
        may_be_fixed=not settings.handlers,
        decode_slashes=settings.decode_slashes,
    )


def fixed_names(policies: Iterable[Policy]) -> frozenset[str]:
    """Return the names, in lower case, of the headers that policies give to every response."""
    lines = (line for policy in policies for line in policy.response_headers)
    return frozenset(name.lower() for name, _ in lines)


def build_default_headers(settings: Settings) -> Iterator[Policy]:
    """Yield the policies of the headers that responses have unless something else is said."""
    yield from header_policies(
        list(_defaults(settings)),
        may_be_fixed=not settings.handlers,
        decode_slashes=settings.decode_slashes,
    )
    if settings.cors:
        from aserve.policies.cors import AnyOrigin, ListedOrigins, exposed_headers

        origins, place = Origins(settings.cors), settings.place_of("cors")
        exposed = exposed_headers(of_uploads=bool(settings.write))
        any_origin = origins.has_any
        yield AnyOrigin(exposed, place) if any_origin else ListedOrigins(origins, exposed, place)


def _rules(settings: Settings) -> list[HeaderRule]:
    """Return the rules, of which those of single paths go before what is said of all."""
    rules = parse_header_rules(settings.headers, partial(settings.place_of, "headers"))
    if settings.cache == "no-store":
        rules.insert(0, _rule_for_all(("Cache-Control", "no-store"), settings.place_of("cache")))
    return rules


def _rule_for_all(line: Header, place: str) -> HeaderRule:
    return HeaderRule(_EVERYTHING, HeaderChange(set=(line,), source=place))


def _defaults(settings: Settings) -> Iterator[HeaderRule]:
    """Yield a rule for each header that settings add to every response, or remove from it."""
    # What pages of other sites may read, isolated ones among them may load.
    sharing = "cross-origin" if settings.cors else "same-origin"
    headers: dict[str, Headers] = {
        "security_headers": _SECURITY if settings.security_headers else (),
        "isolate": (*_ISOLATION, ("Cross-Origin-Resource-Policy", sharing))
        if settings.isolate
        else (),
    }
    for setting, lines in headers.items():
        for line in lines:
            yield _rule_for_all(line, settings.place_of(setting))
    if settings.etag == "off":
        change = HeaderChange(unset=("ETag",), source=settings.place_of("etag"))
        yield HeaderRule(_EVERYTHING, change)


def trusted_origins(settings: Settings) -> Origins:
    """Return the origins whose pages may write: those that are named, and not all there are."""
    origins = Origins(settings.cors)
    return Origins(()) if origins.has_any else origins


def cache_control(settings: Settings) -> CacheControl:
    """Return what says how long files may be used without asking."""
    if isinstance(settings.cache, int):
        return for_seconds(settings.cache)
    if settings.cache != "auto":  # no-store is said of all responses
        return lambda _path: NO_CACHE
    if not settings.write:
        return by_name
    areas = WriteAreas(settings.write_areas)
    return unless(lambda path: areas.mode_in(path.segments) is not None, by_name)


def cache_note(settings: Settings, path: TargetPath) -> Note:
    """Return a note on how long the file at a path may be used."""
    if settings.cache == "no-store":
        return Note("cache", "no-store: never kept", settings.place_of("cache"))
    header = cache_control(settings)(path)
    reasons = {NO_CACHE: "validated before each use", IMMUTABLE: "the name has a hash of the file"}
    reason = f": {reasons[header]}" if header in reasons else ""
    return Note("cache", f"{header[1]}{reason}", settings.place_of("cache"))
