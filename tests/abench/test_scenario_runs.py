"""Users who take the paths of a scenario: what they send, and what is counted."""

import asyncio
import sys
import textwrap
from collections import Counter

import pytest

from abench.plan.scenario_file import ScenarioFile
from abench.runner.worker import WarmupUpdate

pytestmark = pytest.mark.virtual_time

IMPORTS = "import asyncio\nfrom abench import RequestFailed, Rows, User, check, weight\n"
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(autouse=True)
def _own_path(monkeypatch):
    """A scenario imports what is in its directory."""
    monkeypatch.setattr(sys, "path", [*sys.path])


def scenario(body, name="shop.py"):
    """Return a scenario; its first line is line 3."""
    return ScenarioFile(name, (IMPORTS + textwrap.dedent(body).lstrip("\n")).encode())


def path(body):
    """Return a scenario of one path with this body, which begins in line 4."""
    lines = textwrap.indent(textwrap.dedent(body).lstrip("\n"), "    ")
    return scenario(f"async def visit(user: User) -> None:\n{lines}")


def targets(server):
    return [request.split(b" ")[1].decode() for request in server.requests]


async def test_a_user_takes_a_path_again_and_again_on_one_connection(serve, run_plan):
    server = await serve(EMPTY)
    shop = path("""
        await user.get("/a")
        await user.get("/b?c=1")
    """)
    summary = (await run_plan(url=server.url, scenario=shop, connections=1, requests=3)).summary
    assert targets(server) == ["/a", "/b?c=1"] * 3
    assert server.connections == 1
    assert (summary.succeeded, summary.failed, summary.unfinished) == (6, 0, 0)
    assert summary.scenario.ends == {"completed": 3}
    assert {name: one.service.count for name, one in summary.scenario.steps.items()} == {
        "GET /a": 3,
        "GET /b": 3,  # without the query, or each search would be a step of its own
    }


async def test_each_user_has_a_connection_and_a_number(serve, run_plan):
    server = await serve(EMPTY)
    shop = path('await user.get(f"/{user.number}/{user.iteration}", name="page")')
    plan = {"url": server.url, "scenario": shop, "connections": 3, "duration_s": 0.1}
    shop_slowly = path("""
        await user.get(f"/{user.number}/{user.iteration}", name="page")
        await user.think(1)
    """)
    summary = (await run_plan(**{**plan, "scenario": shop_slowly})).summary
    assert sorted(targets(server)) == ["/1/0", "/2/0", "/3/0"]
    assert server.connections == 3
    assert summary.scenario.unfinished == 3
    assert summary.unfinished == 0  # no request is under way: all users think
    assert summary.scenario.steps["page"].service.count == 3


async def test_paths_are_taken_as_often_as_their_weights_say(serve, run_plan):
    server = await serve(EMPTY)
    shop = scenario("""
        @weight(3)
        async def look(user: User) -> None:
            await user.get("/look")

        async def buy(user: User) -> None:
            await _pay(user)

        async def _pay(user: User) -> None:
            await user.post("/buy")
    """)
    await run_plan(url=server.url, scenario=shop, connections=2, requests=40)
    assert Counter(targets(server)) == {"/look": 30, "/buy": 10}


async def test_a_user_sends_the_cookies_that_it_got(serve, run_plan):
    names = iter(("one", "two"))

    def script(peer):
        if peer.request_count == 1:
            peer.send(
                EMPTY.replace(
                    b"\r\n\r\n", b"\r\nSet-Cookie: id=%s; Path=/\r\n\r\n" % next(names).encode()
                )
            )
        else:
            peer.send(EMPTY)

    server = await serve(script)
    shop = path("""
        await user.get("/")
        await user.get("/")
        await user.think(1)
    """)
    await run_plan(url=server.url, scenario=shop, connections=2, duration_s=0.5)
    cookies = [
        line for request in server.requests for line in request.split(b"\r\n") if b"Cookie" in line
    ]
    assert sorted(cookies) == [b"Cookie: id=one", b"Cookie: id=two"]


async def test_think_time_is_in_no_figure(serve, run_plan):
    def script(peer):
        asyncio.get_running_loop().call_later(0.05, peer.send, EMPTY)

    server = await serve(script)
    shop = path("""
        await user.get("/")
        await user.think(1, 3)
        await user.get("/")
    """)
    summary = (await run_plan(url=server.url, scenario=shop, connections=1, requests=4)).summary
    assert summary.scenario.times.min == summary.scenario.times.max == 100_000
    assert summary.service.max == 50_000
    assert 4 * 1.1 <= summary.elapsed_ns / 1e9 <= 4 * 3.1


async def test_with_a_rate_what_is_due_is_a_path(serve, run_plan):
    server = await serve(EMPTY)
    shop = path("""
        await user.get("/a")
        await user.get("/b")
    """)
    plan = {"url": server.url, "scenario": shop, "connections": 4, "rate": 50, "duration_s": 1}
    summary = (await run_plan(**plan)).summary
    assert (summary.started, summary.late, summary.skipped) == (50, 0, 0)
    assert summary.response.count == summary.service.count == 100
    assert summary.scenario.ends == {"completed": 50}


async def test_each_request_of_a_late_path_is_as_late_as_the_path(serve, run_plan):
    """One user, paths of 2 x 50 ms, 20 a second: the k-th is due after k * 50 ms."""

    def script(peer):
        asyncio.get_running_loop().call_later(0.05, peer.send, EMPTY)

    server = await serve(script)
    shop = path("""
        await user.get("/a")
        await user.get("/b")
    """)
    plan = {"url": server.url, "scenario": shop, "connections": 1, "rate": 20, "requests": 5}
    summary = (await run_plan(**plan)).summary
    assert summary.started == 5
    assert summary.late == 4
    assert summary.service.max == 50_000
    # The last path is due after 200 ms and begins after 400 ms. Both of its requests are late.
    assert summary.response.max == 250_000
    assert sum(count for _, us, count in summary.response.spectrum() if us > 249_000) == 2
    assert summary.scenario.times.max == 200_000 + 100_000


async def test_stages_count_paths(serve, run_plan):
    server = await serve(EMPTY)
    shop = path("""
        await user.get("/a")
        await user.think(0.01)
        await user.get("/b")
    """)
    plan = {"url": server.url, "scenario": shop, "connections": 4, "stages": "200ms@50,300ms@100"}
    stages = (await run_plan(**plan)).summary.stages
    assert {number: one.started for number, one in stages.items()} == {0: 10, 1: 30}
    assert stages[0].service.count == 20  # two requests on each path
    assert 58 <= stages[1].service.count <= 60  # the last may think of their second one


async def test_an_exception_costs_one_path_and_tells_its_line(serve, run_plan):
    server = await serve(EMPTY)
    shop = path("""
        await user.get("/")
        if user.iteration == 1:
            {}["price"]
    """)
    counted = (await run_plan(url=server.url, scenario=shop, connections=1, requests=4)).summary
    assert counted.scenario.ends == {"completed": 3, "raised": 1}
    assert {
        place: (one.count, one.message) for place, one in counted.scenario.exceptions.items()
    } == {"shop.py:6": (1, "KeyError: 'price'")}
    assert counted.succeeded == 4


async def test_a_task_that_no_one_awaits_may_raise(serve, run_plan):
    server = await serve(EMPTY)
    shop = scenario("""
        async def _fail():
            raise ValueError("aside")

        async def visit(user: User) -> None:
            asyncio.get_running_loop().create_task(_fail())
            await user.get("/")
            await user.think(0.1)
    """)
    counted = (await run_plan(url=server.url, scenario=shop, connections=1, requests=2)).summary
    assert counted.scenario.ends == {"completed": 2}
    assert {place: one.count for place, one in counted.scenario.exceptions.items()} == {
        "shop.py:4": 2
    }


async def test_checks_are_counted_by_name(serve, run_plan):
    server = await serve(EMPTY)
    shop = path("""
        response = await user.get("/")
        check("it is there", response.ok)
        if not check("it is large", len(response.body) > 100):
            return
        await user.get("/never")
    """)
    summary = (await run_plan(url=server.url, scenario=shop, connections=1, requests=3)).summary
    checks = {name: (one.passed, one.failed) for name, one in summary.scenario.checks.items()}
    assert checks == {"it is there": (3, 0), "it is large": (0, 3)}
    assert targets(server) == ["/"] * 3


async def test_a_request_without_a_response_ends_the_path(serve, run_plan):
    server = await serve(lambda peer: peer.close())
    shop = path("""
        await user.get("/")
        await user.get("/never")
    """)
    summary = (await run_plan(url=server.url, scenario=shop, connections=1, requests=3)).summary
    assert set(targets(server)) == {"/"}
    assert summary.retried == 1  # its connection was open before the request
    assert summary.failures == {"reset": 3}
    assert summary.scenario.ends == {"failed": 3}
    assert summary.scenario.steps["GET /"].failures == {"reset": 3}


async def test_a_path_may_go_on_after_a_request_without_a_response(serve, run_plan):
    def script(peer):
        if b"/gone" in server.requests[-1]:
            peer.close()
        else:
            peer.send(EMPTY)

    server = await serve(script)
    shop = path("""
        try:
            await user.get("/gone")
        except RequestFailed as error:
            check(error.kind, True)
        await user.get("/")
    """)
    summary = (await run_plan(url=server.url, scenario=shop, connections=1, requests=2)).summary
    assert summary.scenario.ends == {"completed": 2}
    assert list(summary.scenario.checks) == ["reset"]
    assert (summary.succeeded, summary.failed) == (2, 2)


async def test_users_pause_before_they_connect_again(run_plan):
    """Nothing listens at the path of the socket: attempts double their distance up to a second."""
    shop = path('await user.get("/")')
    plan = {"url": "http://127.0.0.1/", "scenario": shop, "connections": 1, "duration_s": 3}
    summary = (await run_plan(**plan)).summary
    assert 5 < summary.failures["connect"] < 12
    assert summary.scenario.ends["failed"] == summary.failures["connect"] - 1  # the last one pauses
    assert summary.scenario.unfinished == 1


@pytest.mark.parametrize(("method", "retried", "failed"), [("get", 1, 0), ("post", 0, 1)])
async def test_only_idempotent_requests_are_sent_again(serve, run_plan, method, retried, failed):
    def script(peer):
        if peer.request_count == 2 and server.connections == 1:
            peer.close()
        else:
            peer.send(EMPTY)

    server = await serve(script)
    shop = path(f'await user.{method}("/")')
    summary = (await run_plan(url=server.url, scenario=shop, connections=1, requests=2)).summary
    assert (summary.retried, summary.failed) == (retried, failed)
    assert summary.failures["stale"] == failed


async def test_what_begins_in_the_warm_up_is_not_counted(serve, run_plan):
    def script(peer):
        asyncio.get_running_loop().call_later(0.3, peer.send, EMPTY)

    server = await serve(script)
    shop = path('await user.get("/")')
    plan = {
        "url": server.url,
        "scenario": shop,
        "connections": 1,
        "warmup_s": 0.5,
        "duration_s": 1.05,
    }
    result = await run_plan(**plan)
    warm = [one.counts for one in result.messages if isinstance(one, WarmupUpdate)]
    assert sum(one.scenario.ended for one in warm) == 1
    # The second began before the clock did; the last is under way at its end.
    assert result.summary.scenario.ends == {"completed": 3}
    assert result.summary.scenario.unfinished == 1
    assert result.summary.warmup_requests == 1


async def test_a_request_may_be_given_up(serve, run_plan):
    """What is still to come on its connection is no response to the next request."""
    server = await serve(lambda peer: peer.send(EMPTY) if b"/fast" in server.requests[-1] else None)
    shop = path("""
        try:
            async with asyncio.timeout(0.2):
                await user.get("/slow")
        except TimeoutError:
            await user.get("/fast")
    """)
    summary = (await run_plan(url=server.url, scenario=shop, connections=1, requests=2)).summary
    assert summary.failures == {"timeout": 2}
    assert summary.scenario.ends == {"completed": 2}
    assert targets(server) == ["/slow", "/fast"] * 2
    assert server.connections == 3


async def test_a_user_makes_one_request_at_a_time(serve, run_plan):
    server = await serve(EMPTY)
    shop = path("""
        await asyncio.gather(user.get("/a"), user.get("/b"))
    """)
    summary = (await run_plan(url=server.url, scenario=shop, connections=1, requests=1)).summary
    assert [one.message for one in summary.scenario.exceptions.values()] == [
        "RuntimeError: a user makes one request at a time: await the one before it"
    ]


async def test_what_is_expected_of_one_request_is_said_there(serve, run_plan):
    server = await serve(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone")
    shop = path("""
        await user.get("/a", expect="404", name="missing")
        await user.get("/b", expect="body:some", name="text")
        response = await user.get("/c", name="page")
        check("a failure is a response", response.status == 404 and response.text == "none")
    """)
    summary = (await run_plan(url=server.url, scenario=shop, connections=1, requests=1)).summary
    assert {name: dict(one.failures) for name, one in summary.scenario.steps.items()} == {
        "missing": {},
        "text": {"status": 1},
        "page": {"status": 1},
    }
    assert summary.failures == {"status": 2}
    assert summary.scenario.checks["a failure is a response"].passed == 1


async def test_bodies_and_headers_are_sent_as_they_are_given(serve, run_plan):
    server = await serve(EMPTY)
    shop = path("""
        await user.put("/", json={"a": [1]}, headers={"X-One": "1", "user-agent": "shop"})
        await user.head("/", params={"q": "a b"})
    """)
    plan = {"url": server.url, "scenario": shop, "connections": 1, "requests": 1}
    await run_plan(**plan, headers=(("X-All", "yes"), ("User-Agent", "all")))
    put = server.requests[0]
    assert put.startswith(b"PUT / HTTP/1.1\r\n")
    for line in (b"X-One: 1", b"user-agent: shop", b"X-All: yes", b"Content-Length: 9"):
        assert line in put.split(b"\r\n")
    assert b"Content-Type: application/json" in put
    assert put.lower().count(b"user-agent") == 1
    assert b"HEAD /?q=a+b HTTP/1.1" in server.requests[1]  # behind the body, which has no CRLF


async def test_a_response_may_come_in_chunks_and_parts(serve, run_plan):
    def script(peer):
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
        asyncio.get_running_loop().call_later(0.1, peer.send, b"lo\r\n3\r\n, w\r\n0\r\n\r\n")

    server = await serve(script)
    shop = path("""
        response = await user.get("/")
        check(response.text, response.elapsed_s == 0.1)
    """)
    summary = (await run_plan(url=server.url, scenario=shop, connections=1, requests=1)).summary
    assert {name: one.passed for name, one in summary.scenario.checks.items()} == {"hello, w": 1}


async def test_without_keep_alive_each_request_has_a_connection(serve, run_plan):
    server = await serve(EMPTY)
    shop = path("""
        await user.get("/")
        await user.get("/")
    """)
    plan = {"url": server.url, "scenario": shop, "connections": 2, "requests": 4}
    summary = (await run_plan(**plan, keep_alive=False)).summary
    assert (server.connections, summary.succeeded) == (8, 8)


async def test_users_take_rows_in_turn(serve, run_plan, tmp_path):
    (tmp_path / "names.csv").write_text("name\none\ntwo\nthree\n")
    server = await serve(EMPTY)
    shop = scenario(
        """
        names = Rows("names.csv")
        async def visit(user: User) -> None:
            await user.get("/" + user.take(names)["name"])
        """,
        str(tmp_path / "shop.py"),
    )
    await run_plan(url=server.url, scenario=shop, connections=1, requests=4)
    assert targets(server) == ["/one", "/two", "/three", "/one"]
