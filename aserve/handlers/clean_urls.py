"""URLs without .html, as static hosts have them: which file a URL leads to, and what redirects.

The hosts disagree, so that a site made for one of them has broken links on another. What each of
them does is known from https://github.com/slorber/trailing-slash-guide, which asks them.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Literal, NamedTuple

from aserve.filesystem.directory import ResourceFinder
from aserve.http.messages import HttpError, NotFound
from aserve.http.request_target import TargetPath
from aserve.http.resources import DirectoryWithoutSlash, Document, Resource

_SUFFIX = b".html"


class UrlConvention(NamedTuple):
    """How a host names pages.

    summary: for users. status: of its redirects. hides_names: /page.html and /folder/index.html
    redirect to the URL without .html and without index.html. folder_slash: a folder's URL ends in a
    slash. page_slash: what /page/ leads to if there is a page.html. page_first: of name.html and
    name/index.html, /name/ leads to the first.
    """

    summary: str
    status: int
    hides_names: bool = False
    folder_slash: bool = True
    page_slash: Literal["nothing", "page", "redirect"] = "nothing"
    page_first: bool = False


CONVENTIONS: Mapping[str, UrlConvention] = {
    "github": UrlConvention("GitHub Pages: /page sends page.html", 301),
    "netlify": UrlConvention(
        "Netlify: the same, and /page/ leads to /page",
        301,
        page_slash="redirect",
        page_first=True,
    ),
    "cloudflare": UrlConvention(
        "Cloudflare: the same, and /page.html leads to /page",
        307,
        hides_names=True,
        page_slash="redirect",
    ),
    "vercel": UrlConvention(
        "Vercel: the same, and /folder sends its index",
        308,
        hides_names=True,
        folder_slash=False,
        page_slash="page",
    ),
}
"""Netlify is meant with pretty URLs, Cloudflare with auto-trailing-slash, Vercel with cleanUrls."""

_Step = tuple[TargetPath, TargetPath | None]
"""Where to look for a file, and the URL to redirect to if it is there; None to send it."""


class CleanUrls:
    """Finds the files of a file system by the URLs of a convention.

    index: names of index files. A redirect to a file's URL is made only if that URL leads to the
    same file without another redirect, so that they can neither form a loop nor change what is
    sent.
    """

    def __init__(
        self, files: ResourceFinder, convention: UrlConvention, index: Collection[bytes]
    ) -> None:
        self._files = files
        self._convention = convention
        self._index = index

    def find(self, path: TargetPath, *, wait: bool) -> Resource:
        """Return what a URL leads to; raises HttpError for a redirect as well."""
        absent: tuple[bytes, ...] = ()
        refused = False
        for place, target in self._steps(path):
            found, missed = self._look_up(place, wait=wait)
            if not found:
                absent += missed
            elif not target:
                # A redirect that was refused depends on the other file, which is not watched.
                cacheable_path = b"" if refused else found.path
                return found._replace(absent=absent + missed, path=cacheable_path)
            elif self._leads_to(target, found, wait=wait):
                raise self._redirect(target)
            else:
                refused = True
        try:
            resource = self._files.find(path, wait=wait)
        except NotFound as error:
            raise NotFound(absent + error.absent) from None
        if isinstance(resource, DirectoryWithoutSlash):
            raise self._redirect(path._replace(is_directory=True))
        return resource

    def _look_up(
        self, place: TargetPath, *, wait: bool
    ) -> tuple[Document | None, tuple[bytes, ...]]:
        """Return the file at a place, and where no file was found on the way to it."""
        try:
            resource = self._files.find(place, wait=wait)
        except NotFound as error:
            return None, error.absent
        return resource if isinstance(resource, Document) else None, resource.absent

    def _leads_to(self, target: TargetPath, document: Document, *, wait: bool) -> bool:
        """Tell whether a URL leads to a file without a redirect."""
        for place, other in self._steps(target):
            try:
                found = None if other else self._look_up(place, wait=wait)[0]
            except HttpError:
                return False
            if found:
                return found.representations[0].validator == document.representations[0].validator
        return False

    def _redirect(self, target: TargetPath) -> HttpError:
        location = ("Location", target.location())
        return HttpError(self._convention.status, "This page has another address.", (location,))

    def _steps(self, path: TargetPath) -> Iterator[_Step]:
        if path.is_directory:
            yield from self._steps_with_slash(path)
            return
        folder, name = path.segments[:-1], path.segments[-1]
        page = _with_name(path, name + _SUFFIX)
        if self._convention.hides_names and name in self._index:
            yield path, self._folder_url(path, folder)
        elif self._convention.hides_names and name.endswith(_SUFFIX) and name != _SUFFIX:
            clean = _with_name(path, name.removesuffix(_SUFFIX))
            yield path, clean
            yield clean._replace(is_directory=True), self._folder_url(path, clean.segments)
        yield path, None
        if self._convention.hides_names and page.segments[-1] in self._index:
            yield page, self._folder_url(path, folder)
        yield page, None
        if not self._convention.folder_slash:
            yield path._replace(is_directory=True), None

    def _steps_with_slash(self, path: TargetPath) -> Iterator[_Step]:
        steps: list[_Step] = [(path, None)]
        action = self._convention.page_slash
        if path.segments and action != "nothing":
            page = _with_name(path, path.segments[-1] + _SUFFIX)
            target = path._replace(is_directory=False) if action == "redirect" else None
            steps.insert(0 if self._convention.page_first else 1, (page, target))
        yield from steps

    def _folder_url(self, path: TargetPath, segments: tuple[bytes, ...]) -> TargetPath:
        has_slash = self._convention.folder_slash or not segments
        return TargetPath(segments, has_slash, path.query)


def _with_name(path: TargetPath, name: bytes) -> TargetPath:
    """Return the path of another name in the same directory."""
    return TargetPath((*path.segments[:-1], name), False, path.query)
