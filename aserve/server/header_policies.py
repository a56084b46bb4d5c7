"""From settings to the headers of responses: rules by path, and what other sites' pages may do."""

from collections.abc import Iterator, Sequence

from aserve.config.headers import parse_header_rules
from aserve.config.settings import Settings
from aserve.handlers.cache_control import NO_CACHE, CacheControl, by_name, for_seconds, unless
from aserve.handlers.writing.areas import WriteAreas
from aserve.http.header_changes import FindChanges, HeaderChange
from aserve.http.messages import NOSNIFF, Headers
from aserve.http.origins import Origins
from aserve.policies.cors import AnyOrigin, ListedOrigins
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


def build_header_policies(
    settings: Settings, others: Sequence[FindChanges] = ()
) -> Iterator[Policy]:
    """Yield the policies that change headers, the outermost first.

    others: rules that are found in another way: what settings say goes before them.
    """
    yield from header_policies(
        [_rule(header) for header in _headers_of_all(settings)] + list(_removed(settings)),
        parse_header_rules(settings.headers),
        others,
        decode_slashes=settings.decode_slashes,
        only_our_handlers=not settings.handlers,
    )
    if settings.cors:
        origins = Origins(settings.cors)
        yield AnyOrigin() if origins.has_any else ListedOrigins(origins)


def _headers_of_all(settings: Settings) -> Headers:
    """Return what settings add to every response, as far as nothing else is said of its path."""
    headers: Headers = ()
    if settings.cache == "no-store":
        headers += (("Cache-Control", "no-store"),)
    if settings.security_headers:
        headers += _SECURITY
    if settings.isolate:
        # What pages of other sites may read, isolated ones among them may load.
        sharing = "cross-origin" if settings.cors else "same-origin"
        headers += (*_ISOLATION, ("Cross-Origin-Resource-Policy", sharing))
    return headers


def _rule(header: tuple[str, str]) -> HeaderRule:
    return HeaderRule(_EVERYTHING, HeaderChange(set=(header,)))


def _removed(settings: Settings) -> Iterator[HeaderRule]:
    if settings.etag == "off":
        yield HeaderRule(_EVERYTHING, HeaderChange(unset=("ETag",)))


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
