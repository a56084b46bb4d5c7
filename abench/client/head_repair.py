"""Heads that break the rules of RFC 9112, and that user agents accept all the same."""

import re

LAST_CHUNK = b"0\r\n\r\n"  # some servers send it after a response that has no body

_HEAD_END = re.compile(rb"\n\r?\n")
_LINE_END = re.compile(rb"\r?\n")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_INTERIM = re.compile(rb"HTTP/1\.\d 1(?!01)\d\d")  # RFC 9110 section 15.2; 101 is a final one
_LENGTH = b"content-length:"
_REPAIRABLE = re.compile(
    rb"0\r|HTTP/1\..*?(?:(?<!\r)\n|\n[ \t]|\n" + _LENGTH + rb")", re.IGNORECASE | re.DOTALL
)


def is_repairable(received: bytes) -> bool:
    """Return whether a response that the parser rejected can be repaired."""
    return LAST_CHUNK.startswith(received) or bool(_REPAIRABLE.match(received))


def repair_heads(received: bytes) -> tuple[bytes, int] | None:
    """Return the repaired heads of a response, and how many bytes they took as received.

    None until the final head is complete. A last chunk before them belongs to the previous
    response, which had no body and was not waited for.
    """
    at = len(LAST_CHUNK) if received.startswith(LAST_CHUNK) else 0
    heads = []
    while end := _HEAD_END.search(received, at):
        heads.append(_repair_head(received[at : end.end()]))
        if not _INTERIM.match(received, at):
            return b"".join(heads), end.end()
        at = end.end()
    return None


def _repair_head(head: bytes) -> bytes:
    """Unfold values, end lines by CRLF and merge lengths that are equal.

    A user agent must accept folded values (RFC 9112 section 5.2). It may accept a line that ends
    with LF alone (section 2.2) and a repeated length (RFC 9110 section 8.6). Whitespace before the
    first header is left to the parser, which rejects it (RFC 9112 section 2.2).
    """
    status_line, end, headers = head.partition(b"\n")
    if not headers.startswith((b" ", b"\t")):
        headers = _FOLD.sub(b" ", headers)
    lines = _LINE_END.split(status_line + end + headers)
    return b"\r\n".join(_merge_lengths(lines))


def _merge_lengths(lines: list[bytes]) -> list[bytes]:
    lengths = [line for line in lines if line[: len(_LENGTH)].lower() == _LENGTH]
    values = [value.strip(b" \t") for line in lengths for value in line[len(_LENGTH) :].split(b",")]
    if len(values) < 2 or not _are_equal(values):
        return lines
    merged = [line for line in lines if line not in lengths]
    merged.insert(1, b"Content-Length: " + values[0])
    return merged


def _are_equal(values: list[bytes]) -> bool:
    """Return whether all are the same number, which may have more digits than int accepts."""
    return all(map(bytes.isdigit, values)) and len({value.lstrip(b"0") for value in values}) == 1
