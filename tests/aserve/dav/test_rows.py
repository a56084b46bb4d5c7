"""Every row over sockets, under every model: the default model in each run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from aserve.transport.registry import DEFAULT, MODELS
from tests.aserve import programs
from tests.aserve.dav.rows import COLLECTION, ROWS, SERVERS, Row
from tests.aserve.dav.site import build, served
from tests.aserve.writing.exchange import exchange
from tests.conformance.client import Address
from tests.conformance.reader import Response
from tests.conformance.serving import address_of
from tests.marks import slow_except

Found = dict[str, dict[int, dict[str, str]]]
"""For each href and status the properties."""


def multi_status(body: bytes) -> Found:
    """Return what a multistatus says. Raises ParseError."""
    return {
        response.findtext("{DAV:}href") or "": {
            int((propstat.findtext("{DAV:}status") or "").split(" ")[1]): {
                _name(one.tag): _value(one) for one in propstat[0]
            }
            for propstat in response.iterfind("{DAV:}propstat")
        }
        for response in ET.fromstring(body)
    }


def _name(tag: str) -> str:
    return tag.removeprefix("{DAV:}") if tag.startswith("{") else f"{{}}{tag}"


def _value(one: ET.Element) -> str:
    return COLLECTION if one.find("{DAV:}collection") is not None else one.text or ""


def ask(row: Row, address: Address) -> list[str]:
    """Send a row; return a description of each error."""
    method = row.request.partition(" ")[0]
    lines = [f"{name}: {value}" for name, value in row.sent.items()]
    body = row.body
    if "Transfer-Encoding" in row.sent:
        body = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    elif body:
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join((f"{row.request} HTTP/1.1", "Host: test", "Connection: close", *lines))
    response = exchange(address, f"{head}\r\n\r\n".encode() + body, method)
    errors = _errors_of(row, response) if response else ["no response"]
    return [f"{row.name}: {error}" for error in errors]


def _errors_of(row: Row, response: Response) -> list[str]:
    checks = {f"status {response.status}: {response.body!r}": response.status == row.status}
    for name, value in row.headers.items():
        checks[f"{name}: {response.get(name)}"] = response.get(name) == value
    checks[f"body: {response.body!r}"] = row.contains in response.body
    if response.status == 207:
        resources = multi_status(response.body)
        first = next(iter(resources.values()))
        checks[f"hrefs: {[*resources]}"] = row.hrefs in (None, resources.keys())
        checks[f"found: {first.get(200)}"] = _holds(row.found, first.get(200, {}))
        checks[f"absent: {first.get(404)}"] = row.absent in (None, first.get(404, {}).keys())
        checks[f"no propstat: {first}"] = bool(first)
    return [error for error, holds in checks.items() if not holds]


def _holds(expected: Mapping[str, str | None] | None, found: dict[str, str]) -> bool:
    if expected is None:
        return True
    wanted = {name: found.get(name) if value is None else value for name, value in expected.items()}
    return wanted == found


def test_the_names_of_rows_are_different() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("model", slow_except(MODELS, DEFAULT))
def test_rows(model: str, server: str, tmp_path: Path) -> None:
    if reason := MODELS[model].unavailable_reason():
        pytest.skip(reason)
    settings: dict[str, Any] = SERVERS[server]
    with programs.serve(served(build(tmp_path), server), model=model, **settings) as running:
        address = address_of(running)
        errors = [error for row in ROWS if row.server == server for error in ask(row, address)]
    assert not errors, "\n".join(errors)
