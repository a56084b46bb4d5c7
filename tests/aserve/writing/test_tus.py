"""Uploads in parts, by tus 1.0.0: each row over sockets, and what is there whatever happens."""

import os
import random
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from aserve.transport.registry import DEFAULT, MODELS
from tests.aserve import programs
from tests.aserve.writing.exchange import get
from tests.aserve.writing.test_rows import FORMS
from tests.aserve.writing.tus_client import add, create, head_of, offset_of, send
from tests.aserve.writing.tus_rows import (
    BODY,
    PART,
    ROWS,
    SETTINGS,
    VERSION,
    WHOLE,
    TusRow,
    checksum,
    metadata,
    named,
)
from tests.conformance.client import Address
from tests.conformance.serving import address_of
from tests.marks import slow_except

QUICK: dict[str, Any] = {"write": ("/",), "min_free": 0, "fsync": False}


def files_in(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder that are no uploads under way."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".aserve-upload-")
    }


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".aserve-upload-*")]


def ask(row: TusRow, root: Path, address: Address, *, remembers: bool = True) -> list[str]:
    """Send a row; return a description of each error.

    remembers: whether the process that answers next knows of uploads that have ended.
    """
    folder = root / row.name
    (folder / "folder").mkdir(parents=True)
    (folder / "old.txt").write_bytes(b"old")
    upload = create(address, f"/{row.name}/", "new.txt", len(WHOLE), PART)
    method, _, target = row.request.partition(" ")
    target = target.replace("{u}", upload).replace("{d}", f"/{row.name}")
    response = send(address, method, target, row.sent, row.body)
    errors = [] if response.status == row.status else [f"{response.status}: {response.body!r}"]
    for name, check in row.headers.items():
        value = response.get(name)
        holds = value is check if None in {value, check} else value == check
        if not (check(value) if callable(check) and value is not None else holds):
            errors.append(f"{name}: {value}")
    offset = offset_of(address, upload)
    if offset is None and row.offset == len(WHOLE) and not remembers:
        offset = row.offset
    if offset != row.offset:
        errors.append(f"it ends at {offset}")
    if (found := files_in(folder)) != {"old.txt": b"old", **row.stored}:
        errors.append(f"on the disk: {found}")
    if row.status >= 400 and len(leftovers(folder)) != 2:
        errors.append(f"left: {leftovers(folder)}")
    return [f"{row.name}: {error}" for error in errors]


def test_the_names_of_rows_are_different() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("form", slow_except(FORMS, DEFAULT))
def test_rows(form: str, tmp_path: Path) -> None:
    settings = FORMS[form]
    info = MODELS[settings["model"]]
    if reason := info.unavailable_reason():
        pytest.skip(reason)
    remembers = not info.needs_processes
    with programs.serve(tmp_path, **settings, **SETTINGS) as served:
        address = address_of(served)
        errors = [
            error for row in ROWS for error in ask(row, tmp_path, address, remembers=remembers)
        ]
    assert not errors, "\n".join(errors)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[Address]:
    with programs.serve(tmp_path, **QUICK) as server:
        yield address_of(server)


def test_a_size_that_is_told_later(address: Address, tmp_path: Path) -> None:
    headers = {**VERSION, "Upload-Defer-Length": "1", "Upload-Metadata": metadata(filename="a")}
    upload = send(address, "POST", "/", headers, b"").get("location")
    assert upload
    assert add(address, upload, 0, PART).status == 204
    response = send(address, "HEAD", upload)
    assert (response.get("upload-defer-length"), response.get("upload-length")) == ("1", None)
    assert add(address, upload, 2, b"", **{"Upload-Length": "1"}).status == 400
    assert add(address, upload, 2, b"", **{"Upload-Length": "5"}).status == 204
    assert send(address, "HEAD", upload).get("upload-length") == "5"
    assert add(address, upload, 2, WHOLE[2:]).status == 204
    assert files_in(tmp_path) == {"a": WHOLE}
    assert leftovers(tmp_path) == []


def test_an_upload_that_has_ended(address: Address, tmp_path: Path) -> None:
    """Its last response may have been lost: the client asks, and must not send all of it again."""
    upload = create(address, "/", "a", len(WHOLE), PART)
    assert add(address, upload, 2, WHOLE[2:]).status == 204
    response = send(address, "HEAD", upload)
    told = [response.get(f"upload-{name}") for name in ("offset", "length")]
    assert told == ["5", "5"]
    assert response.get("content-location") == "/a"
    assert add(address, upload, 5, b"").status == 204
    assert add(address, upload, 2, WHOLE[2:]).status == 409
    assert add(address, upload, 5, b"!").status == 400
    assert send(address, "DELETE", upload).status == 403
    assert files_in(tmp_path) == {"a": WHOLE}


def test_a_name_that_is_taken_meanwhile(address: Address, tmp_path: Path) -> None:
    """Nothing is replaced, nothing is lost, and no client is told that its file is there."""
    upload = create(address, "/", "a", len(WHOLE), PART)
    (tmp_path / "a").write_bytes(b"theirs")
    assert add(address, upload, 2, WHOLE[2:]).status == 409
    for _ in range(2):
        response = send(address, "HEAD", upload)
        assert (response.status, response.get("upload-offset")) == (409, None)
    assert files_in(tmp_path) == {"a": b"theirs"}
    (tmp_path / "a").rename(tmp_path / "b")
    assert offset_of(address, upload) == 5
    assert files_in(tmp_path) == {"a": WHOLE, "b": b"theirs"}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("replace", {"a": WHOLE}), ("rename", {"a": b"theirs", "a (1)": WHOLE})],
)
def test_the_rule_of_the_creation_holds_at_the_end(
    rule: str, expected: dict[str, bytes], address: Address, tmp_path: Path
) -> None:
    upload = create(address, f"/?on_conflict={rule}", "a", len(WHOLE), PART)
    (tmp_path / "a").write_bytes(b"theirs")
    response = add(address, upload, 2, WHOLE[2:])
    assert response.status == 204
    assert get(address, response.get("content-location") or "").body == WHOLE
    assert files_in(tmp_path) == expected


def open_patch(
    address: Address, upload: str, offset: int, size: int, **headers: str
) -> socket.socket:
    """Begin a PATCH whose body the caller sends; return once 100 (Continue) has come."""
    client = socket.create_connection(address, 60)
    sent = {**VERSION, **BODY, "Upload-Offset": str(offset), "Expect": "100-continue", **headers}
    client.sendall(head_of("PATCH", upload, sent, size))
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        data = client.recv(4096)
        assert data, received
        received += data
    assert received.startswith(b"HTTP/1.1 100 "), received
    return client


def end(client: socket.socket) -> None:
    """Send no more, and wait until the server has seen that."""
    client.shutdown(socket.SHUT_WR)
    with suppress(ConnectionResetError):
        while client.recv(4096):
            pass


def test_what_has_arrived_before_a_cut_counts(address: Address, tmp_path: Path) -> None:
    """At random bytes: what the upload has is a beginning of the file, and the rest follows."""
    randomly = random.Random(18)
    content = randomly.randbytes(300_000)
    upload, offset = create(address, "/", "a", len(content)), 0
    while offset < len(content) - 1:
        size = min(randomly.randrange(1, 100_000), len(content) - 1 - offset)
        with open_patch(address, upload, offset, len(content) - offset) as client:
            client.sendall(content[offset : offset + size])
            end(client)
        found = offset_of(address, upload)
        assert found is not None
        assert offset <= found <= offset + size
        # Bytes that were read with the end of the connection may be lost, but no others.
        if found == offset:
            assert add(address, upload, offset, content[offset : offset + size]).status == 204
            found = offset + size
        offset = found
    assert add(address, upload, offset, content[offset:]).status == 204
    assert files_in(tmp_path) == {"a": content}
    assert leftovers(tmp_path) == []


def test_bytes_with_a_checksum_count_as_a_whole(address: Address, tmp_path: Path) -> None:
    upload = create(address, "/", "a", len(WHOLE), PART)
    with open_patch(address, upload, 2, 3, **checksum("sha1", WHOLE[2:])) as client:
        client.sendall(b"ll")
        end(client)
    assert offset_of(address, upload) == 2
    assert add(address, upload, 2, b"l", **checksum("sha256", b"l")).status == 204
    assert add(address, upload, 3, b"x", **checksum("sha256", b"l")).status == 460
    assert add(address, upload, 3, b"l").status == 204  # and one without counts as well
    assert offset_of(address, upload) == 4
    assert add(address, upload, 4, b"o", **checksum("sha256", b"o")).status == 204
    assert files_in(tmp_path) == {"a": WHOLE}


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE"])
def test_the_next_request_ends_one_that_is_stuck(
    method: str, address: Address, tmp_path: Path
) -> None:
    """A client whose network has changed goes on at once, however long its old connection lives."""
    content = bytes(range(256)) * 400
    upload = create(address, "/", "a", len(content))
    with open_patch(address, upload, 0, len(content)) as stuck:
        stuck.sendall(content[:1_000])
        if method == "DELETE":
            assert send(address, "DELETE", upload).status == 204
            assert offset_of(address, upload) is None
            return
        offset = offset_of(address, upload)
        assert offset in range(1_001)
        if method == "PATCH":
            with open_patch(address, upload, offset, len(content) - offset) as second:
                stuck.sendall(b"x" * 10_000)  # not mixed
                assert b"423 Locked" in stuck.recv(4096)
                second.sendall(content[offset:])
                assert second.recv(4096).startswith(b"HTTP/1.1 204 ")
        else:
            assert add(address, upload, offset, content[offset:]).status == 204
    assert files_in(tmp_path) == {"a": content}


def test_another_process_is_refused(tmp_path: Path) -> None:
    with programs.serve(tmp_path, **QUICK) as one, programs.serve(tmp_path, **QUICK) as two:
        first, second = address_of(one), address_of(two)
        upload = create(first, "/", "a", len(WHOLE))
        with open_patch(first, upload, 0, len(WHOLE)):
            for method in ("HEAD", "DELETE"):
                assert send(second, method, upload).status == 423
            assert add(second, upload, 0, WHOLE).status == 423
        # The first server may see the end of its connection later.


def test_it_goes_on_after_a_restart(tmp_path: Path) -> None:
    with programs.serve(tmp_path, **QUICK) as server:
        upload = create(address_of(server), "/", "a", len(WHOLE), PART)
    with programs.serve(tmp_path, **QUICK) as server:
        address = address_of(server)
        assert offset_of(address, upload) == 2
        assert add(address, upload, 2, b"ll").status == 204
    with programs.serve(tmp_path, **QUICK) as server:
        assert add(address_of(server), upload, 4, b"o").status == 204
    assert files_in(tmp_path) == {"a": WHOLE}


@pytest.mark.slow
def test_it_goes_on_after_kill_9(tmp_path: Path) -> None:
    """All that was answered is there; so is a file whose server was killed before it had a name."""
    randomly = random.Random(1)
    content = randomly.randbytes(2_000_000)
    upload = ""
    for _ in range(20):
        program = programs.start_code(
            "from aserve.__main__ import main; main()",
            *(tmp_path, "--port=0", "--host=127.0.0.1", "--write", "--min-free=0"),
        )
        try:
            url = [program.stderr.readline() for _ in range(2)][1].split()[1]
            address = address_of(programs.Running(url))
            upload = upload or create(address, "/", "a", len(content))
            offset = offset_of(address, upload)
            if offset in {None, len(content)}:
                break  # it got its name just before the kill
            assert offset is not None
            answered = offset + min(100_000, len(content) - offset)
            assert add(address, upload, offset, content[offset:answered]).status == 204
            if answered < len(content):
                with open_patch(address, upload, answered, len(content) - answered) as client:
                    client.sendall(content[answered : answered + randomly.randrange(200_000)])
                    os.kill(program.pid, signal.SIGKILL)
        finally:
            program.close()
    assert files_in(tmp_path) == {"a": content}


def test_a_file_that_is_whole_but_has_no_name_yet(address: Address, tmp_path: Path) -> None:
    """As if the server had been killed then: the next request gives it its name."""
    upload = create(address, "/", "a", len(WHOLE), PART)
    data = tmp_path / f".aserve-upload-partial-{upload.rpartition('/')[2]}"
    data.write_bytes(WHOLE)
    assert offset_of(address, upload) == 5
    assert files_in(tmp_path) == {"a": WHOLE}


def test_a_full_disk_can_be_freed(tmp_path: Path) -> None:
    with programs.serve(tmp_path, **QUICK) as server:
        upload = create(address_of(server), "/", "a", len(WHOLE), PART)
    full = QUICK | {"min_free": 999_999_999 << 30}
    with programs.serve(tmp_path, **full) as server:
        address = address_of(server)
        assert send(address, "POST", "/", {**VERSION, **named("b")}, b"").status == 507
        assert add(address, upload, 2, b"l").status == 507
        assert offset_of(address, upload) == 2
        assert send(address, "DELETE", upload).status == 204
    assert leftovers(tmp_path) == []


def test_only_below_what_can_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    settings = QUICK | {"write": ("add:/in",)}
    with programs.serve(tmp_path, **settings) as server:
        address = address_of(server)
        response = send(address, "POST", "/", {**VERSION, **named("a")}, b"")
        assert (response.status, response.get("location")) == (405, None)
        upload = create(address, "/in/?on_conflict=replace", "a", len(WHOLE), PART)
        (tmp_path / "in/a").write_bytes(b"theirs")
        assert add(address, upload, 2, WHOLE[2:]).status == 409
        elsewhere = upload.removeprefix("/in")
        assert send(address, "HEAD", elsewhere).status == 404
        assert send(address, "DELETE", upload).status == 204
    assert files_in(tmp_path) == {"in/a": b"theirs"}
    assert leftovers(tmp_path) == []


def test_without_write_nothing_of_it_is_there(tmp_path: Path) -> None:
    with programs.serve(tmp_path) as server:
        address = address_of(server)
        assert send(address, "POST", "/", {**VERSION, **named("a")}, b"").status == 405
        assert send(address, "OPTIONS", "/").get("tus-version") is None
        assert send(address, "HEAD", "/.aserve/tus/" + "A" * 22).status == 404
