"""Upload-Metadata and Upload-Checksum, whatever clients send."""

import base64
import string
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.handlers.writing.tus.checksum import ALGORITHMS, parse_checksum
from aserve.handlers.writing.tus.metadata import file_name, parse_metadata
from aserve.http.messages import HttpError, Request

KEYS = st.text("".join(set(string.printable[:94]) - {","}), min_size=1)


def or_400(parse: Callable[[Any], Any], argument: object) -> Any:
    """Return what parse makes of an argument, None where that is 400."""
    try:
        return parse(argument)
    except HttpError as error:
        if error.status != 400:
            raise
        return None


@given(st.dictionaries(KEYS, st.binary()), st.sampled_from([",", ", ", " ,\t"]))
def test_what_is_encoded_is_found(values: dict[str, bytes], separator: str) -> None:
    text = separator.join(
        f"{key} {base64.b64encode(value).decode()}" if value or len(key) % 2 else key
        for key, value in values.items()
    )
    assert parse_metadata(text) == values


@given(st.text(st.characters(max_codepoint=255)) | st.from_regex(r"[ ,a=A]{0,12}", fullmatch=True))
def test_anything_else_is_400(text: str) -> None:
    values = or_400(parse_metadata, text)
    assert all(key and " " not in key and "," not in key for key in values or ())
    assert len(values or ()) <= text.count(",") + 1


@pytest.mark.parametrize("text", [",", "a,", "a,,b", "a,a", "a MQ==,a Mg==", "a b c", "ä", "a =="])
def test_what_is_malformed(text: str) -> None:
    with pytest.raises(HttpError, match="Upload-Metadata"):
        parse_metadata(text)


def test_names() -> None:
    assert file_name({"filename": b"a", "name": b"b"}) == "a"
    assert file_name({"filename": b"", "name": b"b\xff"}) == "b\udcff"
    with pytest.raises(HttpError, match="filename"):
        file_name({"type": b"a"})


@given(st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f")))
def test_checksums_are_found_or_400(text: str) -> None:
    for value in (text, f"sha1 {text}"):
        request = Request("PATCH", "/", head=f"\r\nUpload-Checksum: {value}\r\n")
        if or_400(parse_checksum, request):
            assert value.split(" ")[0] in ALGORITHMS
