"""A file of URLs: one per line, with a weight before it if it is to be requested more often."""

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
from abench.plan.interleave import interleave
from abench.plan.packed_bytes import PackedBytes
from abench.plan.target import Target, quote_bytes, shown

MAX_WEIGHT = 10_000

_AUTHORITY_END = re.compile("[/?#]")  # the first of them (RFC 3986 section 3.2)
_WEIGHT = re.compile(r"[0-9]{1,9}")
# A line whose path needs no more than percent-encoding, perhaps after a weight and a server. It
# does not end in "?", since an empty query is dropped.
_PLAIN = re.compile(
    rb"^[ \t]*(?:([0-9]{1,5})[ \t]+)?(?:(https?://[^/?#\s\x00-\x1f\x7f]+)|(?=/(?!/)))"
    rb"(/[^#\s\x00-\x1f\x7f]*)(?<!\?)[ \t]*$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class WeightedUrl:
    """A URL that is requested `weight` times as often as one of weight 1."""

    url: str
    weight: int = 1


class UrlFile(Sequence[WeightedUrl]):
    """The URLs of a file, all on one server, packed: each takes little more memory than its path.

    `target` identifies the server: it is that of the base or of the first URL, None before either.
    """

    def __init__(self, base: str | None) -> None:
        self.target: Target | None = None if base is None else Target.parse(base)
        self.weights = array("H")
        self._base = base
        self._resources = PackedBytes()
        self._credentials: dict[int, bytes] = {}  # by index, if they differ from the base's

    def __len__(self) -> int:
        return len(self._resources)

    @overload
    def __getitem__(self, index: int) -> WeightedUrl: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[WeightedUrl, ...]: ...

    def __getitem__(self, index: int | slice) -> WeightedUrl | tuple[WeightedUrl, ...]:
        if isinstance(index, slice):
            return tuple(self[each] for each in range(*index.indices(len(self))))
        index = range(len(self))[index]
        return WeightedUrl(self.target_at(index).url, self.weights[index])

    def at(self, index: int) -> tuple[Target, bytes]:
        """Return the server of one URL, with its credentials, and its resource."""
        assert self.target  # noqa: S101 - it is set once there is a URL
        target, resource = self.target, self._resources[index]
        if index in self._credentials:
            return replace(target, credentials=self._credentials[index]), resource
        return target, resource

    def target_at(self, index: int) -> Target:
        """Return one URL, parsed."""
        target, resource = self.at(index)
        return replace(target, resource=resource.decode())

    @property
    def targets(self) -> "Targets":
        """All URLs, parsed, with their weights."""
        return Targets(self)

    @cached_property
    def order(self) -> Sequence[int]:
        """The indices of one round of all URLs; raises ParameterError."""
        return interleave(self.weights)

    def add(self, block: bytes, number: int) -> int:
        """Add the URLs of whole lines, the first of which is `number`; return the next number.

        Lines that need more than percent-encoding are parsed one by one. Raises ParameterError.
        """
        count = block.count(b"\n") + 1
        matches = _PLAIN.findall(block)
        if len(matches) == count:
            self._add_plain(matches, range(number, number + count))
        else:
            for line_number, line in enumerate(block.split(b"\n"), number):
                self._add_line(line, line_number)
        return number + count

    def _add_plain(self, matches: list[tuple[bytes, bytes, bytes]], numbers: range) -> None:
        """Add the lines that `_PLAIN` has matched."""
        weights, servers, resources = zip(*matches, strict=True)
        self._add_weights(weights, numbers)
        if any(servers) or self.target is None:
            self._add_servers(servers, numbers)
        self._resources.extend(quote_bytes(b"\n".join(resources)).split(b"\n"))

    def _add_weights(self, weights: Sequence[bytes], numbers: range) -> None:
        if not any(weights):
            self.weights.extend([1] * len(weights))
            return
        parsed = [int(weight or 1) for weight in weights]
        for number, weight in zip(numbers, parsed, strict=True):
            _check_weight(number, weight)
        self.weights.extend(parsed)

    def _add_servers(self, servers: Sequence[bytes], numbers: range) -> None:
        """Check each distinct server that lines name once, and store their credentials."""
        credentials = {
            server: self._credentials_of(server.decode(), numbers[servers.index(server)])
            for server in dict.fromkeys(servers)
        }
        if any(map(self._differs, credentials.values())):
            for index, server in enumerate(servers, len(self)):
                self._store_credentials(index, credentials[server])

    def _differs(self, credentials: bytes | None) -> bool:
        return credentials is not None and credentials != self._default_credentials

    def _store_credentials(self, index: int, credentials: bytes | None) -> None:
        if credentials is not None and self._differs(credentials):
            self._credentials[index] = credentials

    @property
    def _default_credentials(self) -> bytes:
        return self.target.credentials if self.target else b""

    def _credentials_of(self, server: str, number: int) -> bytes | None:
        """Return the credentials in the URL of a line; None if it names no server."""
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
            raise ParameterError(
                "--urls",
                f"line {number}: {target.url} is on another server than {self.target.url}",
            )

    def _add_line(self, line: bytes, number: int) -> None:
        if matches := _PLAIN.findall(line):
            self._add_plain(matches, range(number, number + 1))
        elif words := _split_line(line.decode()):
            weighted = _parse(number, words, self._base)
            target = _parse_target(weighted.url, number)
            self._check_server(target, number)
            self._store_credentials(len(self), target.credentials)
            self.weights.append(weighted.weight)
            self._resources.extend([target.resource.encode()])


class Targets(Sequence[tuple[Target, int]]):
    """The URLs of a file with their weights, each parsed when it is accessed."""

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
            return tuple(self[each] for each in range(*index.indices(len(self))))
        index = range(len(self))[index]
        return self.file.target_at(index), self.file.weights[index]


_NO_SERVER = "it names no server, and no URL is given"


def read_urls(path: Path, base: str | None) -> Sequence[WeightedUrl]:
    """Return the URLs in the file at `path`; those without a server are on that of `base`.

    Raises ParameterError for a file that cannot be read or has no URL in it.
    """
    urls, number = UrlFile(base), 1
    try:
        for block in _blocks(path):
            block.decode()
            number = urls.add(block, number)
    except UnicodeDecodeError:
        raise ParameterError("--urls", f"{path}: it is not UTF-8") from None
    if not urls:
        raise ParameterError("--urls", f"{path} has no URL in it")
    return urls


def _blocks(path: Path) -> Iterator[bytes]:
    """Yield a file in blocks of whole lines, without a byte order mark."""
    blocks = inputs.blocks("--urls", str(path), keep=True)
    first = next(blocks, b"")
    yield first.removeprefix(b"\xef\xbb\xbf")
    yield from blocks


def parse_urls(lines: Iterable[str], base: str | None) -> Iterable[WeightedUrl]:
    """Yield the URLs in `lines`, `[WEIGHT] URL` or `[WEIGHT] /path`; `#` starts a comment line."""
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
        reason = f"{shown(url)} names no server, and no URL is given"
        raise ParameterError("--urls", f"line {number}: {reason}")
    try:
        return WeightedUrl(url if base is None else _resolve(url, base), int(weight))
    except ValueError:  # brackets without an address; its message may contain a password
        raise ParameterError(
            "--urls", f"line {number}: {shown(url)}: its host is invalid"
        ) from None


def _check_weight(number: int, weight: int) -> None:
    if not 1 <= weight <= MAX_WEIGHT:
        raise ParameterError("--urls", f"line {number}: a weight must be from 1 to {MAX_WEIGHT}")


def _parse_target(url: str, number: int) -> Target:
    """Return a parsed URL; errors name the number of its line."""
    try:
        return Target.parse(url)
    except ParameterError as error:
        raise ParameterError("--urls", f"line {number}: {error.reason}") from None


def _resolve(url: str, base: str) -> str:
    """Return `url` on the server of `base`, its path as it was typed.

    `/a/../b` is requested unchanged: how the server handles it may be what is to be measured.
    """
    if "://" in url or not url.startswith("/") or url.startswith("//"):
        return urljoin(base, url)
    scheme, _, rest = base.partition("://")
    return f"{scheme}://{_AUTHORITY_END.split(rest, maxsplit=1)[0]}{url}"
