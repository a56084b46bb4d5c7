"""Range requests: from the Range header to byte ranges and their encoding (RFC 9110 section 14)."""

import re
from collections.abc import Callable
from typing import NamedTuple

from aserve.http.integers import parse_decimal
from aserve.http.messages import BodyPart, HttpError, SizedPart

MAX_RANGES = 64
"""A header with more ranges is ignored, as section 14.2 allows; PDF viewers request dozens."""

_RANGE_SPEC = re.compile(r"(?P<first>[0-9]+)-(?P<last>[0-9]*)|-(?P<suffix>[0-9]+)")


class ByteRange(NamedTuple):
    """The bytes [start, stop), half-open: the length is stop - start."""

    start: int
    stop: int


def satisfiable_ranges(value: str, length: int) -> list[ByteRange]:
    """Return the ranges that a Range header requests of a representation of length bytes.

    Empty if the header is to be ignored: another unit, an invalid set, too many ranges, or an
    empty representation (of which a suffix is satisfiable by section 14.1.2, but no Content-Range
    can express it). Raises HttpError 416 if the set is valid and none of it is satisfiable.
    Overlapping and adjacent ranges are merged; the order is the request's (section 15.3.7.2).
    """
    unit, equals, specs = value.partition("=")
    if unit.strip().lower() != "bytes" or not equals or length == 0:
        return []
    requested = [spec.strip(" \t") for spec in specs.split(",", MAX_RANGES * 2)]
    requested = [spec for spec in requested if spec]  # empty list elements are ignored (5.6.1.2)
    if not 0 < len(requested) <= MAX_RANGES:
        return []
    ranges = [_parse(spec, length) for spec in requested]
    if None in ranges:
        return []
    satisfiable = [item for item in ranges if item and item.start < item.stop]
    if not satisfiable:
        headers = (("Content-Range", f"bytes */{length}"),)
        raise HttpError(416, "None of the requested ranges is within the file.", headers)
    return _merge_overlapping(satisfiable)


def _parse(spec: str, length: int) -> ByteRange | None:
    """Return one range, empty if it is not satisfiable; None if it is invalid."""
    match = _RANGE_SPEC.fullmatch(spec)
    if not match:
        return None
    first, last, suffix = (parse_decimal(digits or "") for digits in match.groups())
    if suffix is not None:
        return ByteRange(max(0, length - suffix), length)
    if first is None or last is None:
        return ByteRange(first or 0, length)
    return ByteRange(first, min(last + 1, length)) if first <= last else None


def _merge_overlapping(ranges: list[ByteRange]) -> list[ByteRange]:
    """Merge overlapping and adjacent ranges, by one sort: the cost is never quadratic."""
    merged: list[tuple[int, ByteRange]] = []  # index in the request, range
    for index, (start, stop) in sorted(enumerate(ranges), key=lambda pair: pair[1]):
        if merged and start <= merged[-1][1].stop:
            first_index, last = merged[-1]
            merged[-1] = min(index, first_index), ByteRange(last.start, max(last.stop, stop))
        else:
            merged.append((index, ByteRange(start, stop)))
    return [byte_range for _, byte_range in sorted(merged)]


def content_range(byte_range: ByteRange, length: int) -> str:
    """Return the value of Content-Range, whose last position is inclusive (section 14.4)."""
    return f"bytes {byte_range.start}-{byte_range.stop - 1}/{length}"


class Multipart(NamedTuple):
    """A multipart/byteranges body (section 14.6): its media type, parts and length in bytes."""

    media_type: str
    parts: tuple[BodyPart, ...]
    length: int


def encode_multipart(
    ranges: list[ByteRange],
    part_of: Callable[[int, int], SizedPart],
    media_type: str,
    length: int,
    boundary: str,
) -> Multipart:
    """Encode several ranges of length bytes; boundary must not occur in the content.

    part_of: returns the bytes [start, stop) of it.
    """
    parts: list[BodyPart] = []
    delimiter = f"--{boundary}\r\n"
    for byte_range in ranges:
        head = f"{delimiter}Content-Type: {media_type}\r\n"
        head += f"Content-Range: {content_range(byte_range, length)}\r\n\r\n"
        parts += [head.encode("latin-1"), part_of(byte_range.start, byte_range.stop)]
        delimiter = f"\r\n--{boundary}\r\n"
    parts.append(f"\r\n--{boundary}--\r\n".encode("latin-1"))
    total = sum(len(part) for part in parts)
    return Multipart(f"multipart/byteranges; boundary={boundary}", tuple(parts), total)
