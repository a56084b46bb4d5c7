"""Range requests (RFC 9110 section 14): one part, several, none, and when Range is ignored."""

import re
from collections.abc import Callable, Sequence

from tests.conformance.reader import Response
from tests.conformance.site import HELLO, LARGE, LAST_MODIFIED, PAGE, PAGE_GZIP, TEN
from tests.conformance.table import (
    MAY,
    MUST,
    OURS,
    PRESENT,
    SHOULD,
    Expected,
    Level,
    Message,
    Row,
    expect,
    get,
    head,
    post,
    request,
    row,
    tag,
)

TEN_TAG = tag("/ten.txt")
WHOLE = expect(200, body=TEN, content_range=None)
NOT_SATISFIABLE = expect(416, content_range="bytes */10")
# An invalid set may be ignored or rejected (RFC 9110 14.2).
INVALID = WHOLE | expect(416, 400)


def ten(value: str | Sequence[str], **headers: str) -> Message:
    return get("/ten.txt", range=value, **headers)


def part(start: int, stop: int) -> Expected:
    """Expect the data [start, stop) of the ten."""
    return expect(206, body=TEN[start:stop], content_range=f"bytes {start}-{stop - 1}/10")


def parts(
    *spans: tuple[int, int], of: bytes = TEN, media_type: str = "text/plain"
) -> Callable[[Response], bool]:
    """Expect a well-formed multipart/byteranges of exactly these half-open spans, in order."""

    def holds(response: Response) -> bool:
        boundary = re.fullmatch(
            r'multipart/byteranges; ?boundary="?([0-9A-Za-z\'()+_,./:=? -]{1,70})"?',
            response.get("content-type") or "",
        )
        if not boundary or response.get("content-range"):
            return False
        edge = b"\r\n--" + boundary[1].encode()
        # A preamble and an epilogue are allowed; the first delimiter may be the very first line.
        _, *bodies, last = (b"\r\n" + response.body).split(edge)
        if not last.startswith(b"--") or len(bodies) != len(spans):
            return False
        return all(
            _is_part(body, of, span, media_type) for body, span in zip(bodies, spans, strict=True)
        )

    return holds


def _is_part(body: bytes, of: bytes, span: tuple[int, int], media_type: str) -> bool:
    start, stop = span
    head, end, data = body.partition(b"\r\n\r\n")
    lines = [one.partition(b":") for one in head.split(b"\r\n")[1:]]
    headers = {name.lower().decode(): value.strip().decode() for name, _, value in lines}
    return (
        bool(end)
        and data == of[start:stop]
        and headers.get("content-range") == f"bytes {start}-{stop - 1}/{len(of)}"
        and headers.get("content-type", media_type).startswith(media_type)
    )


single: list[Row] = [
    # RFC 9110 14.2: a satisfiable range SHOULD get 206.
    row(f"range-{name}", "9110 14.1.2", SHOULD, ten(value), part(start, stop))
    for name, value, start, stop in (
        ("first-byte", "bytes=0-0", 0, 1),
        ("first-five", "bytes=0-4", 0, 5),
        ("middle", "bytes=3-6", 3, 7),
        ("last-byte", "bytes=9-9", 9, 10),
        ("open", "bytes=5-", 5, 10),
        ("open-last", "bytes=9-", 9, 10),
        ("open-from-zero", "bytes=0-", 0, 10),
        ("suffix-one", "bytes=-1", 9, 10),
        ("suffix-three", "bytes=-3", 7, 10),
        ("suffix-all", "bytes=-10", 0, 10),
        # RFC 9110 14.1.2: beyond the end means up to the end; a longer suffix means the whole file.
        ("suffix-too-long", "bytes=-11", 0, 10),
        ("suffix-far-too-long", "bytes=-99999999999999999999999", 0, 10),
        ("end-beyond", "bytes=5-10", 5, 10),
        ("end-far-beyond", "bytes=5-99999999999999999999999", 5, 10),
        ("all", "bytes=0-9", 0, 10),
        ("leading-zeros", "bytes=0003-0006", 3, 7),
        # RFC 9110 14.1: range unit names are case-insensitive.
        ("unit-in-capitals", "BYTES=0-1", 0, 2),
        ("unit-mixed", "Bytes=0-1", 0, 2),
        # RFC 9110 5.6.1.2: empty list elements are ignored.
        ("empty-elements", "bytes=,,0-1,", 0, 2),
    )
]
single += [
    # int() alone fails at 4,301 digits.
    row(f"range-{name}", "9110 14.1.2", OURS, ten(value), part(start, stop))
    for name, value, start, stop in (
        ("first-of-4301-digits", f"bytes={'0' * 4_300}3-6", 3, 7),
        ("last-of-4301-digits", f"bytes=3-{'9' * 4_301}", 3, 10),
        ("suffix-of-4301-digits", f"bytes=-{'9' * 4_301}", 0, 10),
    )
]
single += [
    row(
        "range-of-large",
        "9110 14.1.2",
        SHOULD,
        get("/large.bin", range="bytes=100000-170000"),
        expect(206, body=LARGE[100_000:170_001], content_range="bytes 100000-170000/200000"),
    ),
    row(
        "range-resumes-large",
        "9110 14.1.2",
        SHOULD,
        get("/large.bin", range="bytes=65537-"),
        expect(206, body=LARGE[65_537:], content_range="bytes 65537-199999/200000"),
    ),
    row(
        "range-tail-of-large",
        "9110 14.1.2",
        SHOULD,
        get("/large.bin", range="bytes=-7"),
        expect(206, body=LARGE[-7:], content_range="bytes 199993-199999/200000"),
    ),
]

unsatisfiable: list[Row] = [
    # RFC 9110 15.5.17: Content-Range with the length SHOULD be sent.
    row(f"range-beyond-{name}", "9110 15.5.17", SHOULD, ten(value), NOT_SATISFIABLE)
    for name, value in {
        "by-one": "bytes=10-",
        "by-one-closed": "bytes=10-10",
        "by-much": "bytes=100-200",
        "by-more-than-64-bits": "bytes=99999999999999999999999-",
        "more-than-once": "bytes=10-20,30-40",
        "zero-suffix": "bytes=-0",
    }.items()
]
unsatisfiable += [
    row(
        "range-of-empty-file",
        "9110 14.1.2",
        SHOULD,
        get("/empty.txt", range="bytes=0-0"),
        expect(416, content_range="bytes */0") | expect(200, body=b"", content_range=None),
    ),
    *(
        # RFC 9110 14.2: Range MAY be ignored. A client that requests the first 1,024 bytes gets the
        # whole file if it is shorter, even if it is empty.
        row(
            f"range-{name}-of-empty-file-is-ignored",
            "9110 14.2",
            OURS,
            get("/empty.txt", range=value, **headers),
            expect(200, body=b"", content_range=None, content_length="0"),
        )
        for name, value, headers in (
            ("first", "bytes=0-1023", {}),
            ("open", "bytes=0-", {}),
            ("beyond", "bytes=5-", {}),
            ("suffix", "bytes=-5", {}),
            ("zero-suffix", "bytes=-0", {}),
            ("many", "bytes=0-1,5-9,-3", {}),
            ("if-range", "bytes=0-1023", {"if_range": tag("/empty.txt")}),
        )
    ),
    row(
        # RFC 9110 14.1.2: a suffix of an empty file is satisfiable, but has no Content-Range.
        "range-suffix-of-empty-file",
        "9110 14.1.2",
        MAY,
        get("/empty.txt", range="bytes=-5"),
        expect(416, content_range="bytes */0") | expect(200, body=b"", content_range=None),
    ),
    row(
        "range-beyond-has-no-file",
        "9110 15.5.17",
        MUST,
        ten("bytes=10-"),
        expect(416, body=lambda response: TEN not in response.body) | expect(200),
    ),
    row(
        "range-beyond-then-get",
        "9112 9.3",
        OURS,
        [ten("bytes=10-"), get("/hello.txt")],
        NOT_SATISFIABLE,
        expect(200, body=HELLO),
    ),
    row(
        "range-beyond-in-part",
        "9110 14.2",
        SHOULD,
        ten("bytes=0-1,20-30"),
        part(0, 2) | expect(206, body=parts((0, 2))),
    ),
]

ignored: list[Row] = [
    # RFC 9110 14.2: MUST ignore an unknown unit.
    *(
        row(f"range-unit-{name}", "9110 14.2", MUST, ten(value), WHOLE)
        for name, value in {
            "unknown": "lines=0-1",
            "longer": "bytesx=0-1",
            "shorter": "byte=0-1",
            "seconds": "seconds=1.5-2",
        }.items()
    ),
    *(
        row(f"range-invalid-{name}", "9110 14.2", MAY, ten(value), INVALID, aserve=WHOLE)
        for name, value in {
            "backwards": "bytes=5-3",
            "letters": "bytes=a-b",
            "no-numbers": "bytes=-",
            "no-dash": "bytes=5",
            "empty-set": "bytes=",
            "only-commas": "bytes=,,",
            "no-equals": "bytes 0-1",
            "no-unit": "0-1",
            "empty": "",
            "negative": "bytes=--1",
            "signed": "bytes=+0-1",
            "hexadecimal": "bytes=0x0-0x1",
            "space-inside": "bytes=0 - 1",
            "three-numbers": "bytes=0-1-2",
            "one-good-one-bad": "bytes=0-1,x",
            "one-good-one-backwards": "bytes=0-1,5-3",
            "semicolon": "bytes=0-1;2-3",
            "fraction": "bytes=0.5-1",
            "other-digits": "bytes=\xb9-\xb2",
            "two-lines": ("bytes=0-1", "bytes=3-4"),
        }.items()
    ),
    # Servers differ on where whitespace is allowed: any response that fits the request.
    *(
        row(
            f"range-{name}",
            "9110 14.1.1",
            MAY,
            ten(value),
            INVALID | part(0, 2),
            aserve=part(0, 2),
        )
        for name, value in {
            "space-after-equals": "bytes= 0-1",
            "space-at-end": "bytes=0-1 ",
        }.items()
    ),
    row("range-space-before-equals", "9110 14.1.1", MAY, ten("bytes =0-1"), INVALID | part(0, 2)),
    # RFC 9110 14.2: MUST ignore Range with a method other than GET.
    row(
        "range-with-head",
        "9110 14.2",
        MUST,
        head("/ten.txt", range="bytes=0-1"),
        expect(200, body=b"", content_range=None),
    ),
    row(
        "range-beyond-with-head",
        "9110 14.2",
        MUST,
        head("/ten.txt", range="bytes=10-"),
        expect(200, body=b"", content_range=None),
    ),
    row(
        "range-with-head-has-whole-length",
        "9110 9.3.2",
        MUST,
        head("/ten.txt", range="bytes=0-1"),
        expect(200, content_length="10") | expect(200, content_length=None),
        aserve=expect(200, content_length="10"),
    ),
    row(
        "range-with-post",
        "9110 14.2",
        MUST,
        post("/ten.txt", range="bytes=0-1"),
        expect(200, *range(400, 416), *range(417, 600)),
    ),
    row("range-of-missing", "9110 14.2", MUST, get("/missing", range="bytes=0-1"), expect(404)),
    row(
        "range-of-directory",
        "9110 14.2",
        MUST,
        get("/sub", range="bytes=0-1"),
        expect(301, 302, 307, 308),
    ),
    row(
        "range-with-unknown-method",
        "9110 14.2",
        MUST,
        request("FOO", "/ten.txt", range="bytes=0-1"),
        expect(405, 501, 400, 403),
    ),
]


def together(*spans: tuple[int, int]) -> Expected:
    """RFC 9110 15.3.7.2: ranges with a small gap between them MAY be sent as one."""
    return part(min(start for start, _ in spans), max(stop for _, stop in spans))


several: list[Row] = [
    row(
        f"ranges-{name}",
        "9110 14.6",
        level,
        ten(value),
        expect(206, body=parts(*spans)) | together(*spans) | WHOLE,
        aserve=expect(206, body=parts(*spans)),
    )
    for name, level, value, spans in (
        ("two", SHOULD, "bytes=0-1,5-6", ((0, 2), (5, 7))),
        ("two-with-whitespace", SHOULD, "bytes=0-1 ,\t5-6", ((0, 2), (5, 7))),
        ("three", SHOULD, "bytes=0-0,4-4,8-8", ((0, 1), (4, 5), (8, 9))),
        ("open-and-suffix", SHOULD, "bytes=0-1,-2", ((0, 2), (8, 10))),
        ("some-beyond", SHOULD, "bytes=0-1,20-30,5-6", ((0, 2), (5, 7))),
        # RFC 9110 15.3.7.2: the requested order may differ from the order in the file.
        ("descending", MAY, "bytes=5-6,0-1", ((5, 7), (0, 2))),
        ("empty-elements", SHOULD, "bytes=0-1,,5-6,", ((0, 2), (5, 7))),
    )
]
several += [
    *(
        # RFC 9110 15.3.7.2: overlapping ranges MAY be coalesced, or be ignored (14.2).
        row(
            f"ranges-{name}",
            "9110 15.3.7.2",
            MAY,
            ten(value),
            expect(206, body=parts(*asked))
            | part(*merged)
            | expect(206, body=parts(merged))
            | INVALID,
            aserve=part(*merged),
        )
        for name, value, asked, merged in (
            ("adjacent", "bytes=0-1,2-3", ((0, 2), (2, 4)), (0, 4)),
            ("overlapping", "bytes=0-4,3-6", ((0, 5), (3, 7)), (0, 7)),
            ("contained", "bytes=0-8,2-3", ((0, 9), (2, 4)), (0, 9)),
            ("same-twice", "bytes=2-3,2-3", ((2, 4), (2, 4)), (2, 4)),
            ("overlapping-descending", "bytes=3-6,0-4", ((3, 7), (0, 5)), (0, 7)),
            ("overlapping-suffix", "bytes=5-,-3", ((5, 10), (7, 10)), (5, 10)),
            ("chain", "bytes=0-1,4-5,2-3", ((0, 2), (4, 6), (2, 4)), (0, 6)),
        )
    ),
    row(
        "ranges-merged-in-part",
        "9110 15.3.7.2",
        OURS,
        ten("bytes=0-1,1-3,7-8"),
        expect(206, body=parts((0, 4), (7, 9))),
    ),
    row(
        # RFC 9110 15.3.7.1: MUST NOT be multipart if one range was requested.
        "ranges-single-is-not-multipart",
        "9110 15.3.7.2",
        MUST,
        ten("bytes=0-1"),
        expect(206, content_type=lambda value: "multipart" not in value) | expect(200),
    ),
    row(
        # RFC 9110 15.3.7.2: a multipart response MUST NOT have Content-Range in its header section.
        "ranges-multipart-has-no-content-range",
        "9110 15.3.7.2",
        MUST,
        ten("bytes=0-1,5-6"),
        expect(206, content_type=re.compile("multipart/byteranges.*"), content_range=None)
        | expect(206, content_range=PRESENT, content_type=re.compile("(?!multipart).*"))
        | expect(200),
    ),
    row(
        "ranges-of-large",
        "9110 14.6",
        SHOULD,
        get("/large.bin", range="bytes=0-9,100000-180000,-9"),
        expect(
            206,
            body=parts(
                (0, 10),
                (100_000, 180_001),
                (199_991, 200_000),
                of=LARGE,
                media_type="",
            ),
        )
        | expect(200, body=LARGE),
    ),
    row(
        "ranges-part-has-content-type",
        "9110 15.3.7.2",
        SHOULD,
        ten("bytes=0-1,5-6"),
        expect(
            206, body=lambda response: response.body.lower().count(b"content-type: text/plain") == 2
        )
        | part(0, 7)
        | WHOLE,
    ),
    # RFC 9110 14.2 and 17.15: many small or overlapping ranges are an attack.
    *(
        row(
            f"ranges-{name}",
            "9110 14.2",
            OURS,
            message,
            expect(
                200, 206, 400, 416, 431, body=lambda response: len(response.body) < 2 * len(LARGE)
            ),
            aserve=expect(200, body=LARGE, content_range=None),
        )
        for name, message in {
            "65": get(
                "/large.bin", range="bytes=" + ",".join(f"{2 * n}-{2 * n}" for n in range(65))
            ),
            "1000": get("/large.bin", range="bytes=" + ",".join(f"{n}-" for n in range(1_000))),
            "1000-suffixes": get("/large.bin", range="bytes=" + ",".join(["-1"] * 1_000)),
        }.items()
    ),
    row(
        "ranges-64",
        "9110 14.2",
        OURS,
        get("/large.bin", range="bytes=" + ",".join(f"{3 * n}-{3 * n}" for n in range(64))),
        expect(
            206,
            body=parts(
                *((3 * n, 3 * n + 1) for n in range(64)),
                of=LARGE,
                media_type="",
            ),
        ),
    ),
]

described = [
    row("206-etag", "9110 15.3.7", MUST, ten("bytes=0-1"), expect(206, etag=TEN_TAG) | expect(200)),
    row("206-date", "9110 15.3.7", MUST, ten("bytes=0-1"), expect(206, date=PRESENT) | expect(200)),
    row(
        "206-vary",
        "9110 15.3.7",
        MUST,
        get("/style.css", accept_encoding="gzip", range="bytes=0-1"),
        expect(206, vary=lambda value: "accept-encoding" in value.lower())
        | expect(206, content_encoding=None)
        | expect(200),
        aserve=expect(206, vary="Accept-Encoding"),
    ),
    row(
        "206-cache-control",
        "9110 15.3.7",
        OURS,
        ten("bytes=0-1"),
        expect(206, cache_control="no-cache"),
    ),
    row(
        "206-content-type",
        "9110 8.3",
        SHOULD,
        ten("bytes=0-1"),
        expect(206, content_type=re.compile("text/plain.*")),
    ),
    row(
        "206-content-length", "9110 8.6", SHOULD, ten("bytes=0-1"), expect(206, content_length="2")
    ),
    row(
        "206-last-modified",
        "9110 8.8.2",
        SHOULD,
        ten("bytes=0-1"),
        expect(206, last_modified=LAST_MODIFIED),
    ),
    row(
        # RFC 9110 15.3.7: a client that sends If-Range has the rest; it SHOULD NOT be sent again.
        "206-after-if-range-is-brief",
        "9110 15.3.7",
        SHOULD,
        ten("bytes=0-1", if_range=TEN_TAG),
        expect(206, last_modified=None),
    ),
    row(
        "accept-ranges",
        "9110 14.3",
        MAY,
        get("/ten.txt"),
        expect(200, accept_ranges="bytes") | expect(200, accept_ranges=None),
        aserve=expect(200, accept_ranges="bytes"),
    ),
    row(
        "accept-ranges-with-head",
        "9110 14.3",
        OURS,
        head("/ten.txt"),
        expect(200, accept_ranges="bytes"),
    ),
]

if_range: list[Row] = [
    row(f"if-range-{name}", "9110 13.1.5", level, ten("bytes=0-1", if_range=value), expected)
    for name, level, value, expected in (
        ("tag", SHOULD, TEN_TAG, part(0, 2)),
        ("date", SHOULD, LAST_MODIFIED, part(0, 2)),
        ("date-in-rfc-850", OURS, "Saturday, 04-May-24 03:02:01 GMT", part(0, 2)),
        ("date-in-asctime", OURS, "Sat May  4 03:02:01 2024", part(0, 2)),
        # RFC 9110 13.1.5: if false, the recipient MUST ignore Range.
        ("other-tag", MUST, '"no-such-tag"', WHOLE),
        # RFC 9110 13.1.5: strong comparison: a weak tag never matches.
        ("weak-tag", MUST, f"W/{TEN_TAG}", WHOLE),
        ("earlier-date", MUST, "Sat, 04 May 2024 03:02:00 GMT", WHOLE),
        # The date must match exactly: a later one is false as well.
        ("later-date", MUST, "Sat, 04 May 2024 03:02:02 GMT", WHOLE),
        ("words", MUST, "yesterday", WHOLE),
        ("empty", OURS, "", WHOLE),
        ("star", MUST, "*", WHOLE),
        # If-Range = entity-tag / HTTP-date: one value, not a list.
        ("list", OURS, f'{TEN_TAG}, "another"', WHOLE),
        ("unquoted-tag", MUST, "no-such-tag", WHOLE),
    )
]
if_range += [
    row("if-range-without-range", "9110 13.1.5", MUST, get("/ten.txt", if_range=TEN_TAG), WHOLE),
    row(
        "if-range-with-head",
        "9110 13.1.5",
        MUST,
        head("/ten.txt", range="bytes=0-1", if_range=TEN_TAG),
        expect(200, body=b"", content_range=None),
    ),
    row(
        "if-range-other-and-beyond",
        "9110 13.1.5",
        MUST,
        ten("bytes=10-", if_range='"no-such-tag"'),
        WHOLE,
    ),
    row(
        "if-range-same-and-beyond",
        "9110 15.5.17",
        SHOULD,
        ten("bytes=10-", if_range=TEN_TAG),
        NOT_SATISFIABLE,
    ),
    row(
        "if-range-several",
        "9110 13.1.5",
        SHOULD,
        ten("bytes=0-1,5-6", if_range=TEN_TAG),
        expect(206, body=parts((0, 2), (5, 7))) | part(0, 7) | WHOLE,
        aserve=expect(206, body=parts((0, 2), (5, 7))),
    ),
    row(
        "if-range-other-several",
        "9110 13.1.5",
        MUST,
        ten("bytes=0-1,5-6", if_range='"no-such-tag"'),
        WHOLE,
    ),
    row(
        "if-range-after-if-match",
        "9110 13.2.2",
        MUST,
        ten("bytes=0-1", if_range=TEN_TAG, if_match='"no-such-tag"'),
        expect(412),
    ),
    row(
        "if-range-after-if-none-match",
        "9110 13.2.2",
        MUST,
        ten("bytes=0-1", if_range='"no-such-tag"', if_none_match=TEN_TAG),
        expect(304),
    ),
    # RFC 9110 8.8.2.2: a date is weak if it was sent within a second of the last change.
    row(
        "if-range-date-of-the-future-file",
        "9110 13.1.5",
        OURS,
        get("/future.txt", range="bytes=0-1", if_range="Thu, 01 Jan 2099 00:00:00 GMT"),
        expect(200, content_range=None),
    ),
]


def is_start_of_representation(response: Response) -> bool:
    """Tell whether the range belongs to the representation that the headers describe."""
    of = PAGE_GZIP if response.get("content-encoding") == "gzip" else PAGE
    return response.body == of[:10] and (response.get("content-range") or "").endswith(
        f"/{len(of)}"
    )


def of_page(name: str, level: Level, expected: Expected, **headers: str) -> Row:
    return row(f"range-{name}", "9110 14.2", level, get("/page.html", **headers), expected)


coded = [
    of_page(
        "of-the-chosen-coding",
        MUST,
        expect(206, body=is_start_of_representation) | expect(200),
        range="bytes=0-9",
        accept_encoding="gzip",
    ),
    of_page(
        "of-gzip",
        OURS,
        expect(206, body=PAGE_GZIP[:10], content_encoding="gzip", etag=tag("/page.html", "gzip")),
        range="bytes=0-9",
        accept_encoding="gzip",
    ),
    of_page(
        "of-gzip-by-suffix",
        OURS,
        expect(206, body=PAGE_GZIP[-8:], content_encoding="gzip"),
        range="bytes=-8",
        accept_encoding="gzip",
    ),
    of_page(
        "of-gzip-with-the-plain-tag",
        MUST,
        expect(200),
        range="bytes=0-9",
        accept_encoding="gzip",
        if_range='"no-such-tag"',
    ),
    of_page(
        "of-gzip-if-plain",
        OURS,
        expect(200, body=PAGE_GZIP),
        range="bytes=0-9",
        accept_encoding="gzip",
        if_range=tag("/page.html"),
    ),
    of_page(
        "of-gzip-if-gzip",
        OURS,
        expect(206, body=PAGE_GZIP[:10]),
        range="bytes=0-9",
        accept_encoding="gzip",
        if_range=tag("/page.html", "gzip"),
    ),
    of_page(
        "beyond-gzip-within-plain",
        OURS,
        expect(416, content_range=f"bytes */{len(PAGE_GZIP)}"),
        range=f"bytes={len(PAGE_GZIP)}-",
        accept_encoding="gzip",
    ),
]

ROWS: list[Row] = [
    *single,
    *unsatisfiable,
    *ignored,
    *several,
    *described,
    *if_range,
    *coded,
]
