"""A file of URLs: one a line, with a weight before it if it is to be asked for more often."""

import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import overload
from urllib.parse import urljoin

from abench.errors import ParameterError
from abench.plan import inputs
from abench.plan.packed import PackedBytes
from abench.plan.rounds import interleave
from abench.plan.target import Target, quote_bytes, shown

MAX_WEIGHT = 10_000

_AUTHORITY = re.compile("[/?#]")  # the first of them ends it (RFC 3986 section 3.2)
_WEIGHT = re.compile(r"[0-9]{1,9}")
# A line whose path needs no more than quoting, with or without a weight and a server before it. It
# ends in no "?", which is left out where nothing follows.
_PLAIN = re.compile(
    rb"^[ \t]*(?:([0-9]{1,5})[ \t]+)?(?:(https?://[^/?#\s\x00-\x1f\x7f]+)|(?=/(?!/)))"
    rb"(/[^#\s\x00-\x1f\x7f]*)(?<!\?)[ \t]*$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class WeightedUrl:
    """A URL that is asked for `weight` times as often as one of weight 1."""

    url: str
    weight: int = 1


class UrlFile(Sequence[WeightedUrl]):
    """The URLs of a file, all of one server; of a million, each takes little more than its path.

    `target` is what the server is known by: it has the resource of the first, and is None while
    there is none.
    """

    def __init__(self, base: str | None) -> None:
        self.target: Target | None = None if base is None else Target.parse(base)
        self.weights = array("H")
        self._base = base
        self._resources = PackedBytes()
        self._credentials: dict[int, bytes] = {}  # of those that have others than the base

    def __len__(self) -> int:
        return len(self._resources)

    @overload
    def __getitem__(self, index: int) -> WeightedUrl: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[WeightedUrl, ...]: ...

    def __getitem__(self, index: int | slice) -> WeightedUrl | tuple[WeightedUrl, ...]:
        if isinstance(index, slice):
            return tuple(self[one] for one in range(*index.indices(len(self))))
        index = range(len(self))[index]
        return WeightedUrl(self.target_at(index).url, self.weights[index])

    def at(self, index: int) -> tuple[Target, bytes]:
        """Return the server of one, with its credentials, and its resource."""
        assert self.target  # noqa: S101 - it is there once there is an index
        target, resource = self.target, self._resources[index]
        if index in self._credentials:
            return replace(target, credentials=self._credentials[index]), resource
        return target, resource

    def target_at(self, index: int) -> Target:
        """Return one of them, taken apart."""
        target, resource = self.at(index)
        return replace(target, resource=resource.decode())

    @property
    def targets(self) -> "Targets":
        """All of them taken apart, with their weights."""
        return Targets(self)

    @cached_property
    def order(self) -> Sequence[int]:
        """One round of all of them; raises ParameterError."""
        return interleave(self.weights)

    def add(self, block: bytes, number: int) -> int:
        """Add those in some whole lines, of which the first is `number`; return the next number.

        Lines that need more than quoting are taken one by one. Raises ParameterError.
        """
        lines = block.count(b"\n") + 1
        found = _PLAIN.findall(block)
        if len(found) == lines:
            self._add_plain(found, range(number, number + lines))
        else:
            for place, line in enumerate(block.split(b"\n"), number):
                self._add_line(line, place)
        return number + lines

    def _add_plain(self, found: list[tuple[bytes, bytes, bytes]], numbers: range) -> None:
        """Add what `_PLAIN` has found in each of some lines."""
        weights, servers, resources = zip(*found, strict=True)
        self._add_weights(weights, numbers)
        if any(servers) or self.target is None:
            self._add_servers(servers, numbers)
        self._resources.extend(quote_bytes(b"\n".join(resources)).split(b"\n"))

    def _add_weights(self, weights: Sequence[bytes], numbers: range) -> None:
        if not any(weights):
            self.weights.extend([1] * len(weights))
            return
        read = [int(weight or 1) for weight in weights]
        for number, weight in zip(numbers, read, strict=True):
            _check_weight(number, weight)
        self.weights.extend(read)

    def _add_servers(self, servers: Sequence[bytes], numbers: range) -> None:
        """Look at each server once that is named in some lines."""
        found = {
            server: self._credentials_of(server.decode(), numbers[servers.index(server)])
            for server in dict.fromkeys(servers)
        }
        if any(map(self._is_other, found.values())):
            for index, server in enumerate(servers, len(self)):
                self._keep_credentials(index, found[server])

    def _is_other(self, credentials: bytes | None) -> bool:
        return credentials is not None and credentials != self._usual_credentials

    def _keep_credentials(self, index: int, credentials: bytes | None) -> None:
        if credentials is not None and self._is_other(credentials):
            self._credentials[index] = credentials

    @property
    def _usual_credentials(self) -> bytes:
        return self.target.credentials if self.target else b""

    def _credentials_of(self, server: str, number: int) -> bytes | None:
        """Return the credentials of a line's URL, if it has a server of its own."""
        if not server and self.target is None:
            raise ParameterError("--urls", f"line {number}: {_NO_SERVER}")
        if not server:
            return None
        target = _parse_target(server, number)
        self._check_server(target, number)
        return target.credentials

    def _check_server(self, target: Target, number: int) -> None:
        if self.target is None:
            self.target = target
        if target.origin != self.target.origin:
            one, other = target.url, self.target.url
            raise ParameterError(
                "--urls", f"line {number}: {one} is on another server than {other}"
            )

    def _add_line(self, line: bytes, number: int) -> None:
        if found := _PLAIN.findall(line):
            self._add_plain(found, range(number, number + 1))
        elif words := _split_line(line.decode()):
            weighted = _parse(number, words, self._base)
            target = _parse_target(weighted.url, number)
            self._check_server(target, number)
            self._keep_credentials(len(self), target.credentials)
            self.weights.append(weighted.weight)
            self._resources.extend([target.resource.encode()])


class Targets(Sequence[tuple[Target, int]]):
    """The URLs of a file, each taken apart when it is asked for, and its weight."""

    def __init__(self, file: UrlFile) -> None:
        self.file = file

    def __len__(self) -> int:
        return len(self.file)

    @overload
    def __getitem__(self, index: int) -> tuple[Target, int]: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[tuple[Target, int], ...]: ...

    def __getitem__(
        self, index: int | slice
    ) -> tuple[Target, int] | tuple[tuple[Target, int], ...]:
        if isinstance(index, slice):
            return tuple(self[one] for one in range(*index.indices(len(self))))
        index = range(len(self))[index]
        return self.file.target_at(index), self.file.weights[index]


_NO_SERVER = "it names no server, and no URL is given"


def read_urls(path: Path, base: str | None) -> Sequence[WeightedUrl]:
    """Return the URLs in the file at `path`; those without a server are of `base`'s.

    Raises ParameterError for a file that cannot be read or has no URL in it.
    """
    found, number = UrlFile(base), 1
    try:
        for block in _blocks(path):
            block.decode()
            number = found.add(block, number)
    except UnicodeDecodeError:
        raise ParameterError("--urls", f"{path}: it is not UTF-8") from None
    if not found:
        raise ParameterError("--urls", f"{path} has no URL in it")
    return found


def _blocks(path: Path) -> Iterator[bytes]:
    """Yield what is in a file in blocks of whole lines, without a byte order mark."""
    blocks = inputs.blocks("--urls", str(path), keep=True)
    first = next(blocks, b"")
    yield first.removeprefix(b"\xef\xbb\xbf")
    yield from blocks


def parse_urls(lines: Iterable[str], base: str | None) -> Iterable[WeightedUrl]:
    """Yield the URLs in `lines`, `[WEIGHT] URL` or `[WEIGHT] /path`; `#` begins a comment line."""
    for number, line in enumerate(lines, 1):
        if words := _split_line(line):
            yield _parse(number, words, base)


def _split_line(line: str) -> list[str]:
    words = line.split()
    return [] if words and words[0].startswith("#") else words


def _parse(number: int, words: list[str], base: str | None) -> WeightedUrl:
    url = words[-1]
    weight = words[0] if len(words) > 1 else "1"
    if len(words) > 2 or not _WEIGHT.fullmatch(weight):
        raise ParameterError("--urls", f"line {number} is not like URL or 3 URL")
    _check_weight(number, int(weight))
    if "://" not in url and base is None:
        why = f"{shown(url)} names no server, and no URL is given"
        raise ParameterError("--urls", f"line {number}: {why}")
    try:
        return WeightedUrl(url if base is None else _resolve(url, base), int(weight))
    except ValueError:  # of brackets that are no address, whose words may have a password
        raise ParameterError("--urls", f"line {number}: {shown(url)}: its host is none") from None


def _check_weight(number: int, weight: int) -> None:
    if not 1 <= weight <= MAX_WEIGHT:
        raise ParameterError("--urls", f"line {number}: a weight is from 1 to {MAX_WEIGHT}")


def _parse_target(url: str, number: int) -> Target:
    """Return a URL taken apart; what is wrong with it is said with the number of its line."""
    try:
        return Target.parse(url)
    except ParameterError as error:
        raise ParameterError("--urls", f"line {number}: {error.reason}") from None


def _resolve(url: str, base: str) -> str:
    """Return `url` on `base`'s server, its path as it was typed.

    `/a/../b` is asked for as such: what a server makes of it may be what is to be measured.
    """
    if "://" in url or not url.startswith("/") or url.startswith("//"):
        return urljoin(base, url)
    scheme, _, rest = base.partition("://")
    return f"{scheme}://{_AUTHORITY.split(rest, maxsplit=1)[0]}{url}"
