"""Compresses files while they are served: each state of a file once, and never on an event loop.

The first client that asks for a file gets it compressed at a fast level. Meanwhile the best level
is made in the background, and replaces it for all who come later.
"""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from threading import BoundedSemaphore, Event, Lock
from typing import TYPE_CHECKING, NamedTuple

from aserve.compression.background import Background
from aserve.compression.codecs import BEST_LEVEL_S, BEST_LEVELS, FAST_LEVELS, available_codings
from aserve.compression.encoded_file import EncodedFile, encode_file, tag_of
from aserve.compression.encoded_memory import EncodedMemory
from aserve.compression.worthwhile import MIN_SIZE, is_packed
from aserve.filesystem.file_state import FileState, is_settled, state_of
from aserve.filesystem.memory_content import MemoryContent
from aserve.filesystem.opened_file import OpenFile
from aserve.http.content_negotiation import (
    accepts_identity,
    preferred_codings,
    select_representation,
)
from aserve.http.messages import HttpError, Request
from aserve.http.preconditions import has_tag
from aserve.http.resources import NO_TAG, Document, Representation

if TYPE_CHECKING:
    from aserve.compression.encoded_folder import EncodedFolder

MAX_SIZE = 8 << 20
"""Bytes. The best level takes 20 s for a file of this size; a larger one is sent as it is."""

_IsStopped = Callable[[], bool]

_SLOW_CODINGS = frozenset({"br", "zstd"})  # whose best level is worth a long time


class _Job(NamedTuple):
    """A state of a file, and the file, which is open."""

    state: FileState
    file: OpenFile


class FileEncoder:
    """Offers representations of files that are compressed here.

    memory: what was compressed before; folder: the same on disk, after a restart as well.
    background: makes the best levels; without it, the fast ones stay. max_at_once: how many threads
    may compress, or wait for it, together; other clients get files as they are.
    """

    def __init__(
        self,
        memory: EncodedMemory,
        folder: "EncodedFolder | None" = None,
        background: Background | None = None,
        max_at_once: int = 4,
    ) -> None:
        self.memory = memory
        self._folder = folder
        self._background = background
        self._codings = tuple(coding for coding in FAST_LEVELS if coding in available_codings())
        self._preferred = lru_cache(maxsize=64)(partial(_preferred, codings=self._codings))
        self._free_slots = BoundedSemaphore(max_at_once)
        self._lock = Lock()
        self._in_progress: dict[tuple[FileState, str], Event] = {}
        self._improving: set[tuple[FileState, str]] = set()

    def close(self) -> None:
        """Stop what is done in the background."""
        if self._background:
            self._background.stop()

    def offer(self, document: Document, request: Request) -> Document:
        """Return a document with what its file is in the codings that a client likes best.

        Unless a sibling is there in one of them. It is compressed now if it never was: this may
        wait, and raises BlockingIOError where the file must not. What is going to be replaced soon
        is not cached.
        """
        plain = document.representations[0]
        if not self._may_encode(plain):
            return document
        document = document._replace(varies=True)
        preferred = self._preferred(request.headers.get("accept-encoding", ""))
        if not preferred or any(one.coding in preferred for one in document.representations[1:]):
            return document
        assert isinstance(plain.source, OpenFile)  # noqa: S101 - for mypy: by _may_encode
        job = _Job(state_of(plain.source.status), plain.source)
        if known := _known_to_client(request, plain, preferred):
            return document._replace(representations=(*document.representations, known))
        found = self._find(job, preferred, request)
        if found is None:
            return _as_it_is(document, request)
        is_final = self._improve(job, preferred, found)
        if _wants_part_of_file(request) and not is_final:
            # The next part would be one of other bytes.
            return _as_it_is(document, request)
        offered = tuple(_representation(plain, one) for one in found if one.content)
        return document._replace(
            representations=document.representations + offered,
            path=document.path if is_final else b"",
        )

    def _may_encode(self, plain: Representation) -> bool:
        return (
            MIN_SIZE <= plain.length <= min(MAX_SIZE, self.memory.max_bytes)
            and plain.coding == "identity"
            and not is_packed(plain.media_type)
            and plain.validator.etag != NO_TAG
            and isinstance(plain.source, OpenFile)
        )

    def _find(
        self, job: _Job, codings: Sequence[str], request: Request
    ) -> list[EncodedFile] | None:
        """Return what a file is in some codings, one at least; None where it cannot be made now."""
        found = [one for coding in codings if (one := self.memory.get(job.state, coding))]
        if found:
            return found
        if _wants_part_of_file(request):
            return None
        if not job.file.may_wait:
            raise BlockingIOError
        made = self._make_alone(job, codings[0])
        return [made] if made else None

    def _make_alone(self, job: _Job, coding: str) -> EncodedFile | None:
        """Compress a file, or wait for another thread that does; None if too many do."""
        if not self._free_slots.acquire(blocking=False):
            return None
        key = job.state, coding
        try:
            with self._lock:
                event = self._in_progress.get(key)
                if event is None:
                    own = self._in_progress[key] = Event()
            if event:
                event.wait()
                return self.memory.get(*key)
            try:
                return self._load(job, coding) or self._make(job, coding, FAST_LEVELS[coding])
            finally:
                with self._lock:
                    del self._in_progress[key]
                own.set()
        finally:
            self._free_slots.release()

    def _load(self, job: _Job, coding: str) -> EncodedFile | None:
        """Return what the folder has of a file at the best level."""
        best = BEST_LEVELS[coding]
        content = self._folder.load(job.state, coding, best) if self._folder else None
        if content is None:
            return None
        encoded = _encoded(coding, best, content)
        self.memory.put(job.state, encoded)
        return encoded

    def _make(
        self, job: _Job, coding: str, level: int, is_stopped: _IsStopped = lambda: False
    ) -> EncodedFile | None:
        """Compress a file, and remember that; None if that fails or it changes meanwhile."""
        with suppress(OSError, MemoryError):
            can_store = _is_settled(job)  # before it is read, or a change meanwhile may not show
            descriptor = job.file.fileno()
            content = encode_file(descriptor, coding, level, is_stopped)
            if state_of(os.fstat(descriptor)) != job.state:
                return None
            encoded = _encoded(coding, level, content)
            if can_store:
                self.memory.put(job.state, self._smaller(job.state, encoded))
                if self._folder and level == BEST_LEVELS[coding]:
                    self._folder.store(job.state, coding, level, content or b"")
            return encoded
        return None

    def _smaller(self, state: FileState, encoded: EncodedFile) -> EncodedFile:
        """Return the smaller one of two levels: the best is not, for some small content."""
        former = self.memory.get(state, encoded.coding)
        if not (former and former.content and encoded.content):
            return encoded
        is_smaller = len(encoded.content) < len(former.content)
        return encoded if is_smaller else former._replace(is_final=encoded.is_final)

    def _improve(self, job: _Job, preferred: Sequence[str], found: list[EncodedFile]) -> bool:
        """Make the best levels in the background; return whether they are there already.

        Of several codings the client gets the one that is smallest in the end.
        """
        if self._background is None or any(one.content is None for one in found):
            return True
        codings = [one for one in preferred if one in _SLOW_CODINGS] or preferred[:1]
        missing = [one for one in codings if not self._is_final(job.state, one)]
        for coding in missing:
            key = job.state, coding
            with self._lock:
                if key in self._improving:
                    continue
                self._improving.add(key)
            seconds = job.file.status.st_size / 1e6 * BEST_LEVEL_S[coding]
            if not self._background.try_add(partial(self._make_best, job, coding), seconds):
                self._improving.discard(key)  # the next request tries again
        return not missing

    def _is_final(self, state: FileState, coding: str) -> bool:
        known = self.memory.get(state, coding)
        return known is not None and known.is_final

    def _make_best(self, job: _Job, coding: str, is_stopped: _IsStopped) -> None:
        try:
            if _is_settled(job) and not self._load(job, coding):
                self._make(job, coding, BEST_LEVELS[coding], is_stopped)
        finally:
            self._improving.discard((job.state, coding))


def _encoded(coding: str, level: int, content: bytes | None) -> EncodedFile:
    """Return content in a coding; None or b"": it is not worth sending."""
    is_final = not content or level == BEST_LEVELS[coding]
    return EncodedFile(coding, level, MemoryContent(content) if content else None, is_final)


def _is_settled(job: _Job) -> bool:
    return is_settled(job.file.status, time.time_ns())


def _as_it_is(document: Document, request: Request) -> Document:
    """Return a document without what is compressed here, for now.

    Raises HttpError 503 for a client that excludes all that is left.
    """
    try:
        select_representation(document, request.headers.get("accept-encoding"))
    except HttpError:
        headers = (("Vary", "Accept-Encoding"),)
        detail = "This file cannot be compressed now. Try again in a moment."
        raise HttpError(503, detail, headers) from None
    return document._replace(path=b"")


def _wants_part_of_file(request: Request) -> bool:
    """Tell whether a part is asked for, which may be one of the file as it is."""
    accepted = request.headers.get("accept-encoding", "")
    return "range" in request.headers and accepts_identity(accepted)


def _preferred(accept_encoding: str, codings: Sequence[str]) -> tuple[str, ...]:
    return preferred_codings(accept_encoding, codings) if accept_encoding else ()


def _representation(plain: Representation, encoded: EncodedFile) -> Representation:
    content = encoded.content
    assert content is not None  # noqa: S101 - for mypy: others are not offered
    validator = plain.validator._replace(etag=_tag(plain, encoded.coding, encoded.level))
    return Representation(plain.media_type, len(content), validator, content, encoded.coding)


def _known_to_client(
    request: Request, plain: Representation, codings: Sequence[str]
) -> Representation | None:
    """Return the representation that a client has already, at whatever level; None for none.

    It is told so (304), and need not be made again.
    """
    tags = request.headers.get("if-none-match")
    if not tags or plain.validator.etag[:-1] not in tags:
        return None
    for coding in codings:
        for level in (BEST_LEVELS[coding], FAST_LEVELS[coding]):
            tag = _tag(plain, coding, level)
            if has_tag(tags, tag, weak=True):  # or what is sent would be the file, as if encoded
                return plain._replace(coding=coding, validator=plain.validator._replace(etag=tag))
    return None


def _tag(plain: Representation, coding: str, level: int) -> str:
    return plain.validator.etag[:-1] + tag_of(coding, level) + '"'
