"""Range requests: from the Range field to octets, one part or several (RFC 9110 section 14)."""

import re
from typing import NamedTuple

from aserve.http.integers import parse_decimal
from aserve.http.messages import BodyPart, ByteSource, FileSlice, HttpError

MAX_RANGES = 64
"""A set of more ranges than this is ignored, as section 14.2 allows; PDF viewers ask for dozens."""

_RANGE_SPEC = re.compile(r"(?P<first>[0-9]+)-(?P<last>[0-9]*)|-(?P<suffix>[0-9]+)")


class ByteRange(NamedTuple):
    """The octets [start, stop), half-open: the length is stop - start."""

    start: int
    stop: int


def satisfiable_ranges(value: str, length: int) -> list[ByteRange]:
    """Return what a Range field asks for of a representation of length octets.

    Empty where the field is to be ignored: another unit, an invalid set, too many ranges, or no
    octets. A suffix of nothing is satisfiable (section 14.1.2) and no Content-Range can say so.
    Raises Refused 416 where it is valid and none of it can be had. Ranges that overlap or touch
    are merged; the order is that of the request (section 15.3.7.2).
    """
    unit, equals, specs = value.partition("=")
    if unit.strip().lower() != "bytes" or not equals or length == 0:
        return []
    asked = [spec.strip(" \t") for spec in specs.split(",", MAX_RANGES * 2)]
    asked = [spec for spec in asked if spec]  # empty list elements count for nothing (5.6.1.2)
    if not 0 < len(asked) <= MAX_RANGES:
        return []
    ranges = [_parse(spec, length) for spec in asked]
    if None in ranges:
        return []
    wanted = [one for one in ranges if one and one.start < one.stop]
    if not wanted:
        contents = (("Content-Range", f"bytes */{length}"),)
        raise HttpError(416, "None of the ranges asked for lies within the file.", contents)
    return _merge_overlapping(wanted)


def _parse(spec: str, length: int) -> ByteRange | None:
    """Return one range, empty where nothing of it can be had; None where it is invalid."""
    found = _RANGE_SPEC.fullmatch(spec)
    if not found:
        return None
    first, last, suffix = (parse_decimal(digits or "") for digits in found.groups())
    if suffix is not None:
        return ByteRange(max(0, length - suffix), length)
    if first is None or last is None:
        return ByteRange(first or 0, length)
    return ByteRange(first, min(last + 1, length)) if first <= last else None


def _merge_overlapping(ranges: list[ByteRange]) -> list[ByteRange]:
    """Join what overlaps or touches, by one sort: the cost is never quadratic."""
    joined: list[tuple[int, ByteRange]] = []  # place in the request, range
    for place, (start, stop) in sorted(enumerate(ranges), key=lambda pair: pair[1]):
        if joined and start <= joined[-1][1].stop:
            first_place, last = joined[-1]
            joined[-1] = min(place, first_place), ByteRange(last.start, max(last.stop, stop))
        else:
            joined.append((place, ByteRange(start, stop)))
    return [one for _, one in sorted(joined)]


def content_range(one: ByteRange, length: int) -> str:
    """Return the value of Content-Range, whose last position is inclusive (section 14.4)."""
    return f"bytes {one.start}-{one.stop - 1}/{length}"


class Multipart(NamedTuple):
    """A multipart/byteranges content (section 14.6): its media type, pieces and length."""

    media_type: str
    parts: tuple[BodyPart, ...]
    length: int


def encode_multipart(
    ranges: list[ByteRange], source: ByteSource, media_type: str, length: int, boundary: str
) -> Multipart:
    """Frame several ranges of a content of length octets; boundary must not occur in it."""
    pieces: list[BodyPart] = []
    opening = f"--{boundary}\r\n"
    for one in ranges:
        head = f"{opening}Content-Type: {media_type}\r\n"
        head += f"Content-Range: {content_range(one, length)}\r\n\r\n"
        pieces += [head.encode("latin-1"), FileSlice(source, one.start, one.stop)]
        opening = f"\r\n--{boundary}\r\n"
    pieces.append(f"\r\n--{boundary}--\r\n".encode("latin-1"))
    total = sum(len(piece) for piece in pieces)
    return Multipart(f"multipart/byteranges; boundary={boundary}", tuple(pieces), total)
