"""Redirects and rewrites: what the _redirects of a site says comes before its files, or after."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from aserve.filesystem.directory import ResourceFinder
from aserve.handlers.cache_control import NO_CACHE
from aserve.handlers.error_pages import read_page
from aserve.handlers.handler import Handler, Note, RequestContext
from aserve.handlers.representation import respond_with_document
from aserve.http.error_pages import error_response
from aserve.http.messages import Header, Headers, HttpError, NotFound, Request, Response
from aserve.http.request_target import TargetPath, parse_path
from aserve.http.resources import DirectoryWithoutSlash, Document
from aserve.rules.conditions import fulfil, requested_host, varies, vary_names
from aserve.rules.dialects import Dialect
from aserve.rules.matcher import Match
from aserve.rules.patterns import is_canonical
from aserve.rules.redirects_file import REDIRECT_STATUSES, REDIRECTS, REWRITE, Redirect
from aserve.rules.site_rules import SiteRules
from aserve.rules.targets import expand, is_same_address, with_query


class RulesSource(Protocol):
    """Has the rules of a site, which can change.

    latest: as they were when they were last asked for. is_confirmed: whether every change of them
    is noticed, and empties the response cache, so that no response has to be bound.
    """

    latest: SiteRules
    is_confirmed: bool

    def current(self, now: int, *, wait: bool) -> SiteRules:
        """Return the rules. now: POSIX seconds.

        Raises BlockingIOError where wait is False and it would have to wait for a disk.
        """

    def bind(self, response: Response) -> Response:
        """Return a response that is cached only until the rules change."""


class RuledSite(NamedTuple):
    """What the rules of a site are applied to.

    handler: answers what no rule is for. unlisted: the same, but without lists of directories, for
    what a rule is for that applies where nothing else is. by_url: finds what rules lead to, by the
    URLs of the host whose rules they are. files: finds it by its path. cache_control: the header of
    that name for files at other URLs than their own. disarm: takes their scripts from files that
    clients have uploaded, by their paths.
    """

    handler: Handler
    unlisted: Handler
    by_url: ResourceFinder
    files: ResourceFinder
    cache_control: Header = NO_CACHE
    disarm: Callable[[TargetPath, Response], Response] = lambda _path, response: response


class _Choice(NamedTuple):
    """The rule for a request, None if the conditions of none are fulfilled.

    values: of its placeholders. vary: names of the headers that decided. is_cacheable: whether
    nothing else did than the target.
    """

    rule: Redirect | None
    values: Mapping[str, str]
    vary: tuple[str, ...]
    is_cacheable: bool


class _Asked(NamedTuple):
    """What is asked for. path: canonical. query: with its "?", or ""."""

    request: Request
    context: RequestContext
    path: str
    query: str
    dialect: Dialect


class Redirects:
    """Answers GET and HEAD as the rules of a site say, and else as a handler does.

    The first rule that matches decides: at once if it is forced, and else where nothing is found.
    No other rule is asked for what it leads to.
    """

    def __init__(
        self, site: RuledSite, source: RulesSource, *, decode_slashes: bool = False
    ) -> None:
        self._site = site
        self._source = source
        self._decode_slashes = decode_slashes

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Return what the first rule says that matches, or the response of the handler."""
        rules = self._source.latest
        matches: Sequence[Match[Redirect]] = ()
        if rules.redirects:
            path = requested_path(request.target, decode_slashes=self._decode_slashes)
            matches = rules.redirects.find(path)
        if matches:
            query = parse_path(request.target, decode_slashes=self._decode_slashes).query
            return self._follow(matches, _Asked(request, context, path, query, rules.dialect))
        return self._site.handler.handle(request, context)

    def _follow(self, matches: Sequence[Match[Redirect]], asked: _Asked) -> Response:
        choice = choose(matches, asked.request, asked.query)
        vary: Headers = (("Vary", ", ".join(choice.vary)),) if choice.vary else ()
        try:
            response = self._respond(choice, asked)
        except HttpError as error:
            error.headers += vary
            raise
        if choice.is_cacheable:
            return response
        return response._replace(headers=response.headers + vary, path=b"")

    def _respond(self, choice: _Choice, asked: _Asked) -> Response:
        rule = choice.rule
        target = expand(rule.to, choice.values) if rule else ""
        if not rule or _is_circle(rule, target, asked):
            return self._site.handler.handle(asked.request, asked.context)
        absent: tuple[bytes, ...] = ()
        if not rule.is_forced:
            try:
                response = self._site.unlisted.handle(asked.request, asked.context)
            except NotFound as error:
                absent = error.absent
            else:
                note_rule(asked.context, rule, f"{target}, but only where nothing is")
                return response
        note_rule(asked.context, rule, target)
        response = self._apply(rule, target, asked)
        return response._replace(absent=absent + response.absent) if absent else response

    def _apply(self, rule: Redirect, target: str, asked: _Asked) -> Response:
        """Return what a rule says. Raises HttpError for a redirect."""
        request, context = asked.request, asked.context
        if rule.status in REDIRECT_STATUSES:
            location = with_query(target, asked.query)
            raise HttpError(rule.status, "This page has moved.", (("Location", location),))
        if rule.status == REWRITE:
            path = self._path_of(target)
            document = self._find(path, wait=context.may_wait)
            cache_control = self._site.cache_control
            response = respond_with_document(request, document, context.now, cache_control)
            response = self._site.disarm(path, response)
            return response.without_body() if request.method == "HEAD" else response
        error = NotFound() if rule.status == _NOT_FOUND else HttpError(rule.status, _CLOSED)
        try:
            path = self._path_of(target)
            page = read_page(self._find(path, wait=context.may_wait))
        except HttpError:
            page = None
        if not page:
            raise error  # which has a page of the site, too
        return self._site.disarm(path, error_response(request, error, lambda: page))

    def _path_of(self, target: str) -> TargetPath:
        return parse_path(target.partition("#")[0], decode_slashes=self._decode_slashes)

    def _find(self, path: TargetPath, *, wait: bool) -> Document:
        """Return the file that a rule leads to; raises HttpError if there is none."""
        try:
            resource = self._site.by_url.find(path, wait=wait)
        except HttpError as error:
            if error.status not in REDIRECT_STATUSES:
                raise
            resource = self._site.files.find(path, wait=wait)  # clients shall see another URL of it
        if isinstance(resource, DirectoryWithoutSlash):
            resource = self._site.files.find(path._replace(is_directory=True), wait=wait)
        if isinstance(resource, Document):
            return resource
        raise NotFound(resource.absent)


_NOT_FOUND = 404
_CLOSED = "This page is not available."


def choose(matches: Sequence[Match[Redirect]], request: Request, query: str) -> _Choice:
    """Return the first rule whose conditions are fulfilled, and what decided that."""
    vary: dict[str, None] = {}
    is_cacheable = True
    for _, rule, values in matches:
        is_cacheable = is_cacheable and not varies(rule.conditions)
        vary |= dict.fromkeys(vary_names(rule.conditions))
        in_query = fulfil(rule.conditions, request, query)
        if in_query is not None:
            return _Choice(rule, {**in_query, **values}, tuple(vary), is_cacheable)
    return _Choice(None, {}, tuple(vary), is_cacheable)


def requested_path(target: str, *, decode_slashes: bool) -> str:
    """Return the path of a target in the form in which rules have it. Raises HttpError."""
    path = target.partition("?")[0]
    if is_canonical(path):  # so are most
        return path
    return parse_path(target, decode_slashes=decode_slashes)._replace(query="").location()


def _is_circle(rule: Redirect, target: str, asked: _Asked) -> bool:
    """Tell whether a redirect would lead to the address that was asked for."""
    if rule.status not in REDIRECT_STATUSES:
        return False
    host, optional_slash = requested_host(asked.request), asked.dialect.optional_slash
    location = with_query(target, asked.query)
    return is_same_address(location, host, asked.path + asked.query, optional_slash=optional_slash)


def note_rule(context: RequestContext, rule: Redirect, target: str) -> None:
    """Say which rule has decided, if the response is to be explained."""
    if context.notes is not None:
        note = Note("rule", f"{rule.status} {target}", rule.place or f"{REDIRECTS}:{rule.line}")
        context.notes.append(note)
