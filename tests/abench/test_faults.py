"""Servers that misbehave, and abench as a whole process against them.

It ends on time, reports failures by their kind, exits with the right code, and counts as successes
exactly the requests to which the server has sent a complete response.
"""

import asyncio
import contextlib
import json
import socket
import sys

SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
DURATION, TIMEOUT = 1.2, 0.5  # nine loaders and their servers share two cores
WORDS = ("-t", str(DURATION), "--timeout", str(TIMEOUT), "-c", "4", "-w", "1", "--json", "-")
# What does not depend on a timeout is counted by requests: a busy machine takes longer, no more.
REQUESTS = 20
BY_NUMBER = ("-n", str(REQUESTS), "--timeout", "60", "-c", "4", "-w", "1", "--json", "-")


def close_after(data):
    def script(peer):
        peer.send(data)
        peer.close()

    return script


def never_end_the_head(peer):
    def more():
        if not peer.transport.is_closing():
            peer.send(b"X-Filler: %s\r\n" % (b"x" * 1000) * 100)
            loop.call_later(0.01, more)

    loop = asyncio.get_running_loop()
    peer.send(b"HTTP/1.1 200 OK\r\n")
    more()


# name: what the server does at each request, and the expected kinds of failure
FAULTS = {
    "garbage": (b"\x16\x03\x01garbage\r\n\r\n", {"protocol"}),
    "a head without end": (never_end_the_head, {"protocol"}),
    "half a response, then the end": (close_after(SIZED[:-2]), {"protocol"}),
    "half a response, then silence": (SIZED[:-2], {"timeout"}),
    "longer than its length": (SIZED + b"!", {"protocol"}),
    "silence": (lambda _peer: None, {"timeout"}),
    "slower than the limit": (
        lambda peer: asyncio.get_running_loop().call_later(2 * TIMEOUT, peer.send, SIZED),
        {"timeout"},
    ),
    "resets": (lambda peer: peer.reset(), {"reset"}),
    "closed without a response": (lambda peer: peer.close(), {"reset"}),
    "500": (b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n", {"status"}),
}


def deviations(ran, server, kinds):
    """Return what is not as expected, by name."""
    document = ran.json
    seen = {kind for kind, number in document["failures"].items() if number}
    requests = document["requests"]
    counted = requests["failed"] + requests["unfinished"]
    checks = {
        "kinds": seen == kinds,
        "exit code": ran.code == 1,
        "no success": requests["succeeded"] == 0,
        "verdict": document["verdict"]["limiter"] == "errors",
    }
    if kinds == {"timeout"}:
        # It ends no earlier than it should; uvloop's timers have steps of a millisecond.
        checks["duration"] = document["duration_s"] >= DURATION - 0.01
        # A server that did not run for a while may never have read a request that was given up.
        checks["count"] = len(server.requests) <= counted
    else:
        checks["number"] = requests["failed"] == REQUESTS
        # A request on each connection that was open at the start may have been retried.
        checks["count"] = abs(counted - len(server.requests)) <= 4
    return [
        f"{name}: {document['failures']}, {ran.code}" for name, holds in checks.items() if not holds
    ]


async def test_faults_are_counted_as_what_they_are(serve, abench):
    # All at once: one after the other they would take as long as all the other tests.
    servers = {name: await serve(script) for name, (script, _) in FAULTS.items()}
    words = (WORDS if kinds == {"timeout"} else BY_NUMBER for _, kinds in FAULTS.values())
    ran = await asyncio.gather(
        *(abench(*said, one.url) for said, one in zip(words, servers.values(), strict=True))
    )
    found = {
        name: deviations(result, servers[name], FAULTS[name][1])
        for name, result in zip(FAULTS, ran, strict=True)
    }
    assert {name: faults for name, faults in found.items() if faults} == {}


async def test_exactly_the_responses_of_a_server_are_counted(serve, abench):
    answered = 0

    def script(peer):
        nonlocal answered
        if len(server.requests) % 3:
            answered += 1
            peer.send(SIZED)
        else:
            peer.reset()

    server = await serve(script)
    ran = await abench("-n", "300", *BY_NUMBER[2:], server.url)
    assert ran.json["requests"]["succeeded"] == answered
    assert ran.code == 0


async def test_a_full_listen_queue_is_reported_before_the_run(abench):
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        waiting = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        assert waiting  # it takes the only place; the next client gets no answer at all
        ran = await abench(*WORDS, f"http://127.0.0.1:{port}/")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == f"abench: error: cannot reach 127.0.0.1:{port}: timed out\n"


async def test_a_listen_queue_that_fills_in_the_run_delays_no_end(start_abench):
    loop = asyncio.get_running_loop()
    answered = 0
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        loader = await start_abench(*WORDS, "--no-keepalive", url)
        probe, _ = await loop.sock_accept(listener)
        probe.close()
        ended = asyncio.ensure_future(loader.communicate())
        while answered < 20 and not ended.done():
            accept = asyncio.ensure_future(loop.sock_accept(listener))
            await asyncio.wait([accept, ended], return_when=asyncio.FIRST_COMPLETED)
            if not accept.done():
                accept.cancel()
                break
            answered += 1
            with accept.result()[0] as peer:
                await loop.sock_recv(peer, 65536)
                with contextlib.suppress(ConnectionError):  # it has given up
                    await loop.sock_sendall(peer, SIZED)
        out, _ = await ended
    document = json.loads(out)
    assert document["requests"]["succeeded"] <= answered
    assert loader.returncode == (0 if document["requests"]["succeeded"] else 1)
    # A client in the queue has a connection but no response; the others get no connection.
    assert {kind for kind, number in document["failures"].items() if number} <= {
        *("timeout", "connect", "reset")
    }
    # A connection attempt without an answer ends after two minutes.
    assert DURATION - 0.01 <= document["duration_s"] < DURATION + 60


SERVER = """
import asyncio, sys

class Peer(asyncio.Protocol):
    request_count = 0
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        Peer.request_count += 1
        self.transport.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
        if Peer.request_count == 50:
            print("enough", flush=True)

async def main():
    server = await asyncio.get_running_loop().create_server(Peer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


async def test_a_server_killed_in_the_run_leaves_the_samples_before(start_abench):
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SERVER), stdout=asyncio.subprocess.PIPE
    )
    port = int(await server.stdout.readline())
    # A number of requests that is not reached, so that it ends when it has given the server up.
    loader = await start_abench(*WORDS[2:], "-n", "1000000", f"http://127.0.0.1:{port}/")
    assert await server.stdout.readline() == b"enough\n"
    server.kill()
    await server.wait()
    out, _ = await loader.communicate()
    document = json.loads(out)
    assert loader.returncode == 1
    assert document["requests"]["succeeded"] >= 46  # four may have been on their way
    assert document["failures"]["connect"] > 0
    assert document["reasons"]["ECONNREFUSED"] == document["failures"]["connect"]
    assert (
        sum(second["succeeded"] for second in document["series"])
        == (document["requests"]["succeeded"])
    )
