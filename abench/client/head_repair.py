"""Heads that are not as RFC 9112 wants them, and that user agents take all the same."""

import re

LAST_CHUNK = b"0\r\n\r\n"  # what some servers send behind a response that has no body

_HEAD_END = re.compile(rb"\n\r?\n")
_LINE_END = re.compile(rb"\r?\n")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_INTERIM = re.compile(rb"HTTP/1\.\d 1(?!01)\d\d")  # RFC 9110 section 15.2; 101 is a final one
_LENGTH = b"content-length:"
_REPAIRABLE = re.compile(
    rb"0\r|HTTP/1\..*?(?:(?<!\r)\n|\n[ \t]|\n" + _LENGTH + rb")", re.IGNORECASE | re.DOTALL
)


def is_repairable(received: bytes) -> bool:
    """Return whether a response that the parser refused has anything in it to repair."""
    return LAST_CHUNK.startswith(received) or bool(_REPAIRABLE.match(received))


def repair_heads(received: bytes) -> tuple[bytes, int] | None:
    """Return the heads of a response as they should be, and how many bytes they took.

    None until the final one has come. A last chunk before them belongs to the response before,
    which had no body, and was not to be awaited.
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

    A user agent has to take what is folded (RFC 9112 section 5.2), and may take a line that LF
    ends (section 2.2) and a length that is said twice (RFC 9110 section 8.6). Whitespace before
    the first header is left to the parser, which refuses it (RFC 9112 section 2.2).
    """
    status_line, end, headers = head.partition(b"\n")
    if not headers.startswith((b" ", b"\t")):
        headers = _FOLD.sub(b" ", headers)
    lines = _LINE_END.split(status_line + end + headers)
    return b"\r\n".join(_merge_lengths(lines))


def _merge_lengths(lines: list[bytes]) -> list[bytes]:
    said = [line for line in lines if line[: len(_LENGTH)].lower() == _LENGTH]
    values = [value.strip(b" \t") for line in said for value in line[len(_LENGTH) :].split(b",")]
    if len(values) < 2 or not _are_equal(values):
        return lines
    kept = [line for line in lines if line not in said]
    kept.insert(1, b"Content-Length: " + values[0])
    return kept


def _are_equal(values: list[bytes]) -> bool:
    """Return whether these are all the same number; it may have more digits than int takes."""
    return all(map(bytes.isdigit, values)) and len({value.lstrip(b"0") for value in values}) == 1
