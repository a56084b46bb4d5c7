"""Logins over sockets: the cache never mixes users, guesses learn nothing, reloads are safe."""

import asyncio
import base64
import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import aserve
from aserve.cache.keys import KeyedOn
from aserve.config.settings import Settings, SettingsError
from aserve.policies.access import AccessRouter
from aserve.policies.live_updates import LiveUpdates
from aserve.server.live_watch import LiveWatch
from aserve.transport.registry import DEFAULT, MODELS
from tests.aserve.access.test_passwords import ARGON2, BCRYPT
from tests.aserve.server.test_virtual_hosts import head, serving, until_cached

ROUNDS = 5
"""How often each question is asked: the last answers come from the cache."""

LOGINS = ("ann:a", "ben:b", "carl:c")


def login(pair: str) -> str:
    return "Authorization: Basic " + base64.b64encode(pair.encode()).decode()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "private").mkdir(parents=True)
    (folder / "open.txt").write_text("open")
    (folder / "private" / "a.txt").write_text("SECRET")
    (folder / "404.html").write_text("nothing")
    for file in folder.rglob("*"):
        os.utime(file, (1, 1))
    return folder


def settings_of(root: Path, **settings: object) -> Settings:
    paths = (aserve.PathSettings("/private/*", readers=("ann",)),)
    return Settings(root, **{"auth": LOGINS, "readers": ("anyone",), "paths": paths, **settings})


ASKED = {
    ("", "/open.txt"): b"open",
    ("", "/private/a.txt"): b"401 Unauthorized",
    ("", "/none"): b"nothing",
    ("ann:a", "/open.txt"): b"open",
    ("ann:a", "/private/a.txt"): b"SECRET",
    ("ben:b", "/private/a.txt"): b"403 Forbidden",
    ("ann:a", "/private/none"): b"nothing",
    ("ben:b", "/private/none"): b"403 Forbidden",
    ("ben:x", "/open.txt"): b"401 Unauthorized",
    ("ann:b", "/private/a.txt"): b"401 Unauthorized",
}


def question(pair: str, target: str) -> bytes:
    accept = "Accept: text/html" if "none" in target else "Accept: */*"
    return head(target, "x", accept, *([login(pair)] if pair else []))


async def found_wrong(settings: Settings) -> tuple[list[tuple[str, str]], int]:
    """Return which questions were answered wrongly, cold or warm, and how many are cached."""
    async with serving(settings, cache=True) as (server, *clients):
        wrong = []
        for round_number in range(ROUNDS):
            for number, (asked, part) in enumerate(ASKED.items()):
                answer = await clients[(round_number + number) % 2].ask(question(*asked))
                if part not in answer:
                    wrong.append(asked)
                await until_cached(server)
        assert server.cache
        return wrong, len(server.cache._by_key)


async def test_the_cache_mixes_no_users(root: Path) -> None:
    wrong, cached = await found_wrong(settings_of(root))
    assert wrong == []
    assert cached == 3  # neither 401, 403 nor 404


async def test_a_cache_that_is_not_keyed_on_the_login_would_be_found(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = AccessRouter.__init__

    def forget(self: AccessRouter, *arguments: object, **options: object) -> None:
        original(self, *arguments, **options)  # type: ignore[arg-type]
        self.keyed_on = KeyedOn(counts_client=True)

    monkeypatch.setattr(AccessRouter, "__init__", forget)
    wrong, _ = await found_wrong(settings_of(root))
    assert wrong


async def test_a_hash_is_checked_in_a_thread_and_the_answer_is_cached_then(
    root: Path, tmp_path: Path
) -> None:
    file = tmp_path / "users"
    file.write_text(f"ann:{BCRYPT}\nben:{ARGON2}\n")
    settings = settings_of(root, auth=(), htpasswd=str(file))
    async with serving(settings, cache=True) as (server, client, other):
        for _ in range(ROUNDS):
            for asker in (client, other):
                request = question("ann:secret", "/private/a.txt")
                assert b"SECRET" in await asker.ask(request)
                assert b"403" in await asker.ask(question("ben:secret", "/private/a.txt"))
                await until_cached(server)
        assert server.cache
        assert len(server.cache._by_key) == 1
        assert b"401" in await client.ask(question("ann:wrong", "/private/a.txt"))


async def until_closed(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_who_guesses_finds_no_right_password_in_the_cache(root: Path) -> None:
    """A response that is cached for the right login is a 200 to a client that guesses it."""
    right = question("ann:a", "/private/a.txt")
    async with serving(settings_of(root), cache=True) as (server, client, _other):
        for _ in range(ROUNDS):
            assert b"SECRET" in await client.ask(right)
            await until_cached(server)
        assert server.cache
        assert len(server.cache._by_key) == 1
        (listener,) = [acceptor._listener for acceptor in server._acceptors]
        port = listener.getsockname()[1]
        for number in range(10):
            assert b"401" in await until_closed(port, question(f"ann:{number}", "/open.txt"))
        for request in (question("ann:11", "/open.txt"), right):
            assert b"HTTP/1.1 429 Too Many Requests\r\n" in await until_closed(port, request)
        answer = await client.ask(question("ann:12", "/open.txt"))  # opened before
        assert b" 429 " in answer
        assert b"\r\nConnection: close\r\n" in answer
        assert b"open" in await until_closed(port, question("", "/open.txt"))


@pytest.mark.parametrize("has_rules", [False, True])
async def test_live_reload_names_no_file_that_some_may_not_read(
    root: Path, monkeypatch: pytest.MonkeyPatch, *, has_rules: bool
) -> None:
    published: list[object] = []
    monkeypatch.setattr(LiveUpdates, "publish", lambda _self, paths: published.append(paths))
    settings = settings_of(root, live=True, **({} if has_rules else {"paths": ()}))
    watch = LiveWatch(settings)
    await watch.start()
    changed = {b"private/a.txt"}
    watch._publish(changed)
    while not published:  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0)
    watch.stop()
    assert published[-1] == (None if has_rules else changed)


@pytest.mark.parametrize("model", [DEFAULT, "blocking", "reactor"])
def test_every_model_asks_for_the_login(root: Path, tmp_path: Path, model: str) -> None:
    assert not MODELS[model].unavailable_reason()
    file = tmp_path / "users"
    file.write_text(f"ann:{BCRYPT}\n")
    with aserve.Server(root, htpasswd=str(file), write=("/",), model=model) as server:
        for pair, status in (("", 401), ("ann:wrong", 401), ("ann:secret", 200), ("", 401)):
            assert status_of(server, "GET", "/open.txt", pair) == status
        assert status_of(server, "PUT", "/new.txt", "ann:wrong", b"abc") == 401
        assert status_of(server, "PUT", "/new.txt", "", b"abc") == 401
        assert not (root / "new.txt").exists()
        assert status_of(server, "PUT", "/new.txt", "ann:secret", b"abc") == 201
    with aserve.Server(root, htpasswd=str(file), write=("/",), model=model) as server:
        # the first request of a login may be the one with a body
        assert status_of(server, "PUT", "/new.txt", "ann:secret", b"abcd") == 204
    assert (root / "new.txt").read_bytes() == b"abcd"


def address_of(server: aserve.Server) -> tuple[str, int]:
    url = urlsplit(server.url)
    assert url.hostname
    assert url.port
    return url.hostname, url.port


def status_of(server: aserve.Server, method: str, target: str, pair: str, body: bytes = b"") -> int:
    lines = [f"{method} {target} HTTP/1.1", "Host: x", "Connection: close"]
    lines += [login(pair)] if pair else []
    lines += [f"Content-Length: {len(body)}"] if body else []
    with socket.create_connection(address_of(server), 20) as client:
        client.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        answer = client.makefile("rb").read()
    return int(answer.split(b" ", 2)[1])


def test_a_body_is_not_asked_for_before_the_login_is_right(root: Path) -> None:
    with aserve.Server(root, auth=LOGINS, write=("/",)) as server:
        for pair, first in (("", b" 401 "), ("ann:x", b" 401 "), ("ann:a", b" 100 ")):
            lines = ["PUT /new.txt HTTP/1.1", "Host: x", "Content-Length: 3"]
            lines += ["Expect: 100-continue", *([login(pair)] if pair else [])]
            with socket.create_connection(address_of(server), 20) as client:
                client.sendall("\r\n".join([*lines, "", ""]).encode())
                assert first in client.recv(65_536)
    assert not (root / "new.txt").exists()


def test_passwords_are_shown_by_no_form_of_the_settings(root: Path) -> None:
    settings = settings_of(root, auth=("ann:topsecret",))
    assert "topsecret" not in repr(settings)
    with pytest.raises(SettingsError) as raised:
        Settings(root, auth=("topsecret",))
    assert "topsecret" not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"auth": ("ann",)}, "auth: must be a user and a password with a colon between them"),
        ({"auth": ("ann:",)}, "auth: has no password"),
        ({"auth": ("ann:a", "ann:b")}, "auth: ann is named twice"),
        ({"auth": ("ann:...",)}, "auth: '...' is what aserve check prints in place of"),
        ({"htpasswd": "/nowhere/users"}, "htpasswd: cannot read '/nowhere/users': No such file"),
        ({"readers": ("ann",)}, "readers: there is no user 'ann', only anyone, users, nobody"),
        ({"auth": ("ann:a",), "writers": ("ben",)}, "writers: there is no user 'ben', only"),
        ({"readers": ("anyone", "users")}, "readers: anyone says all"),
        ({"readers": ("@staff",)}, "readers: there is no group '@staff', since groups has none"),
        (
            {"auth": ("ann:a",), "groups": ("staff=ann",), "readers": ("@staf",)},
            "readers: there is no group '@staf', only @staff",
        ),
        (
            {"auth": ("ann:a",), "groups": ("staff=ann,ben",)},
            "groups: staff: there is no user 'ben', only ann",
        ),
        ({"groups": {"staff": ("ann",)}}, "groups: staff: there is no user 'ann', only no users"),
        ({"groups": ("staff",)}, "groups: staff: has no users"),
        ({"groups": {"staff": ()}}, "groups: staff: has no users"),
        ({"groups": ("=ann",)}, "groups: must be NAME=USER,USER, and '' is no name of a group"),
        ({"groups": ("@a=ann",)}, "groups: must be NAME=USER,USER, and '@a' is no name"),
        ({"auth": ("ann:a",), "groups": ("a=ann", "a=ann")}, "groups: a is named twice"),
        ({"groups": {"a": "ann"}}, "groups: a: must be the names of users, not 'ann'"),
        ({"groups": {"a": 3}}, "groups: a: must be the names of users, not 3"),
    ],
)
def test_what_is_wrong_is_one_line(root: Path, settings: dict[str, object], error: str) -> None:
    with pytest.raises(SettingsError) as raised:
        Settings(root, **settings)  # type: ignore[arg-type]
    assert str(raised.value).startswith(error)
    assert "\n" not in str(raised.value)


def test_a_password_file_is_never_served(root: Path) -> None:
    for name in ("users", "sub/users"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(f"ann:{BCRYPT}")
        with pytest.raises(SettingsError, match=f"is served at /{name}: a name that begins with"):
            Settings(root, htpasswd=str(root / name))
    (root / ".htpasswd").write_text(f"ann:{BCRYPT}")
    assert Settings(root, htpasswd=str(root / ".htpasswd")).users == {"ann"}
    link = root.parent / "link"
    link.symlink_to(root / "users")
    with pytest.raises(SettingsError, match="is served at /users"):
        Settings(root, htpasswd=str(link))
