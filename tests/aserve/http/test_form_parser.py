"""multipart/form-data as RFC 7578 and the HTML standard have it, in pieces of any size."""

import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aserve.http.form_parser import (
    MAX_PART_HEADER_SIZE,
    MAX_PART_HEADERS,
    MAX_PARTS,
    FormParser,
    FormPart,
    form_boundary,
)
from aserve.http.messages import HttpError

BOUNDARY = "b0"
Parts = list[tuple[FormPart, bytes]]


def part(content: bytes, disposition: str = 'form-data; name="f"; filename="a"') -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n\r\n".encode()
    return head + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


def parse(pieces: Iterable[bytes]) -> Parts | int:
    """Return the parts of a form, or the status of its error."""
    parser = FormParser(BOUNDARY)
    parts: Parts = []
    try:
        for piece in pieces:
            for event in parser.feed(piece):
                if isinstance(event, FormPart):
                    parts.append((event, b""))
                elif event is not None:
                    begun, content = parts.pop()
                    parts.append((begun, content + event))
        parser.finish()
    except HttpError as error:
        # The rest of the body is not wanted.
        return error.status if error.close else 0
    return parts


def cut(data: bytes, at: Iterable[int]) -> list[bytes]:
    ends = sorted({min(place, len(data)) for place in at} | {len(data)})
    return [data[start:stop] for start, stop in zip([0, *ends], ends, strict=False)]


# What the grammar is made of, and what nearly is.
FRAGMENTS = st.sampled_from([
    *(b"\r\n", b"\r", b"\n", b"--", b"-", b"--b0", b"\r\n--b0", b"--b0--", b"b0", b"--b01", b" "),
    *(b"content", b"\0", b"\xff", b"\r\n\r\n", b"Content-Length: 3\r\n", b"A: b\nC: d\r\n"),
    *(part(b"x"), part(b"\r\n--b"), part(b"", 'form-data; name="a"'), END),
])  # fmt: skip


@given(st.lists(FRAGMENTS, max_size=12).map(b"".join), st.lists(st.integers(0, 400), max_size=8))
@example(b"preamble\r\n--b0--", [10])
@example(part(b"x") + END, range(400))
@example(part(b"x").replace(b"Content", b"\nContent") + END, [8])
@example(part(b"\r\n--b0\r") + END, range(400))
def test_how_a_form_is_cut_does_not_matter(data: bytes, at: Iterable[int]) -> None:
    assert parse(cut(data, at)) == parse([data])


def head(*lines: str) -> bytes:
    named = ('Content-Disposition: form-data; name="f"', *lines)
    return b"--b0\r\n" + "".join(f"{line}\r\n" for line in named).encode() + b"\r\nx\r\n" + END


@pytest.mark.parametrize("size", range(MAX_PART_HEADER_SIZE - 1, MAX_PART_HEADER_SIZE + 5))
def test_the_limit_of_a_header_is_the_same_however_it_is_cut(size: int) -> None:
    form = head("X: " + "y" * (size - len("X: ")))
    is_short = size <= MAX_PART_HEADER_SIZE
    for at in ([], range(len(form)), range(4_000, 4_400)):
        assert parse(cut(form, at)) == ([(FormPart("f", None), b"x")] if is_short else 413)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=6), st.lists(st.integers(0, 2_000)))
def test_every_file_arrives_as_it_was_sent(contents: list[bytes], at: list[int]) -> None:
    form = b"".join(map(part, contents)) + END
    expected = [(FormPart("f", "a"), content) for content in contents]
    if all(b"\r\n--b0" not in b"\r\n" + content for content in contents):
        assert parse(cut(form, at)) == expected


def test_a_file_of_any_size_is_passed_on_and_not_held() -> None:
    parser = FormParser(BOUNDARY)
    piece = b"\r\n--" * 20_000  # nearly a boundary
    list(parser.feed(part(b"")[:-2]))
    tracemalloc.start()
    try:
        size = sum(len(event or b"") for _ in range(200) for event in parser.feed(piece))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 200 * len(piece) - size <= len("\r\n--b0")
    assert peak < 5 * len(piece)


@pytest.mark.parametrize(
    ("disposition", "expected"),
    [
        ('form-data; name="f"', FormPart("f", None)),
        ('form-data; name="f"; filename=""', FormPart("f", "")),
        # HTML standard: only these three are escaped.
        ('form-data; name="f"; filename="%22%0D%0A%41"', FormPart("f", '"\r\n%41')),
        ('form-data; name="f"; filename="ä中.txt"', FormPart("f", "ä中.txt")),
        (r'form-data; name="f"; filename="a\"b"', FormPart("f", 'a"b')),
        (r'form-data; name="f"; filename="C:\temp\b.txt"', FormPart("f", "b.txt")),
        ("form-data; filename=a.txt; name=f", FormPart("f", "a.txt")),
    ],
)
def test_names_are_those_that_the_client_means(disposition: str, expected: FormPart) -> None:
    assert parse([part(b"", disposition) + END]) == [(expected, b"")]


@pytest.mark.parametrize(
    ("form", "status"),
    [
        (b"", 400),
        (b"x" * 100_000, 400),  # no boundary comes, and none is waited for
        (b"--b0", 400),
        (b"--b0\r\n", 400),
        (part(b"x"), 400),  # the last boundary is missing
        (b"preamble\r\n" + part(b"x") + END, 400),
        (part(b"x", "form-data") + END, 400),
        (part(b"x", 'form-data; name=""; filename="a"') + END, 400),
        (part(b"x", 'attachment; name="f"') + END, 400),
        (part(b"x", 'form-data; name="f"; filename="a\tb\x00c"') + END, 400),
        (b"--b0\r\n\r\nx\r\n" + END, 400),
        (b"--b0\r\nno header\r\n\r\nx\r\n" + END, 400),
        (head("Content-Length: 2"), 400),
        (head("Content-Length: -1"), 400),
        (head("Content-Transfer-Encoding: base64"), 400),
        (b"--b0\nContent-Disposition: form-data; name=f\n\nx\n--b0--\n", 400),
        (part(b"x" * 10 + b"\r\n--b0y") + END, 400),
        (head("X: " + "y" * MAX_PART_HEADER_SIZE), 413),
        (b"--b0\r\nX: " + b"y" * 5_000, 413),  # a line that never ends
        (head(*(f"X-{number}: y" for number in range(MAX_PART_HEADERS))), 413),
        (part(b"") * (MAX_PARTS + 1) + END, 413),
    ],
)
def test_what_is_no_form_is_refused(form: bytes, status: int) -> None:
    assert parse([form]) == status


def test_as_many_parts_as_are_allowed_are_parsed() -> None:
    parts = parse([part(b"") * MAX_PARTS + END])
    assert isinstance(parts, list)
    assert len(parts) == MAX_PARTS


@pytest.mark.parametrize(
    "lines",
    [("Content-Type: text/html",), ("Content-Length: 1",), ("Content-Transfer-Encoding: Binary",)],
)
def test_other_headers_of_a_part_change_nothing(lines: tuple[str, ...]) -> None:
    assert parse([head(*lines)]) == [(FormPart("f", None), b"x")]


def test_nothing_behind_the_last_boundary_counts() -> None:
    assert parse([part(b"x") + END + part(b"y") + END]) == [(FormPart("f", "a"), b"x")]


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("multipart/form-data; boundary=abc", "abc"),
        ('Multipart/Form-Data; charset=utf-8; boundary="a b:c"', "a b:c"),
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=", 400),
        ('multipart/form-data; boundary="a "', 400),
        (f"multipart/form-data; boundary={'a' * 71}", 400),
        ('multipart/form-data; boundary="\xe4"', 400),
        ("multipart/mixed; boundary=abc", 415),
        ("application/x-www-form-urlencoded", 415),
        ("", 415),
    ],
)
def test_a_form_needs_a_boundary(content_type: str, expected: str | int) -> None:
    try:
        found: str | int = form_boundary(content_type)
    except HttpError as error:
        found = error.status
    assert found == expected
