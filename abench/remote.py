"""One share of a run on another machine: an ordinary worker, told by pipes what to do.

    python -m abench.remote

A Plan comes on standard input, as its length in eight octets and its pickle; behind it come the
orders, and the end of it stops the run. Messages leave on standard output, one a line.
"""

import json
import os
import pickle
import sys
from dataclasses import asdict

from abench import fleet, worker
from abench.errors import AbenchError
from abench.plan import Plan
from abench.summary import Summary

_LENGTH = 8


def packed(plan: Plan) -> bytes:
    """Return what `received` reads."""
    octets = pickle.dumps(plan)
    return len(octets).to_bytes(_LENGTH, "big") + octets


def received(descriptor: int) -> Plan:
    """Read a Plan, and not an octet more: what is behind it are orders."""
    length = int.from_bytes(_exactly(descriptor, _LENGTH), "big")
    plan: Plan = pickle.loads(_exactly(descriptor, length))  # noqa: S301 - from our own program
    return plan


def _exactly(descriptor: int, octets: int) -> bytes:
    read = b""
    while len(read) < octets:
        more = os.read(descriptor, octets - len(read))
        if not more:
            raise EOFError("the plan ended early")
        read += more
    return read


def encode(message: worker.Message) -> str:
    """Return a message as one line."""
    match message:
        case Summary():
            return json.dumps(["Summary", message.encode()])
        case worker.Warm():
            return json.dumps(["Warm", message.part.encode()])
        case worker.Done():
            return json.dumps(["Done", message.last.encode()])
        case _:
            return json.dumps([type(message).__name__, asdict(message)])


def decode(line: str) -> worker.Message:
    """Undo `encode`."""
    kind, content = json.loads(line)
    match kind:
        case "Summary":
            return Summary.decode(content)
        case "Warm":
            return worker.Warm(Summary.decode(content))
        case "Done":
            return worker.Done(Summary.decode(content))
        case "Ready":
            return worker.Ready(**content)
        case "Started":
            return worker.Started()
        case _:
            return worker.Fault(**content)


def main() -> None:
    """Be a worker until the share is done or the orders end."""
    messages = os.dup(sys.stdout.fileno())

    def send(message: worker.Message) -> None:
        with os.fdopen(os.dup(messages), "w") as stream:
            stream.write(encode(message) + "\n")

    try:
        plan = fleet.reach(received(0))
        fleet.make_room(plan)
        worker.serve(plan, 0, send)
    except AbenchError as error:
        send(worker.Fault(str(error), error.exit_code))
    except (EOFError, OSError) as error:
        send(worker.Fault(str(error)))


if __name__ == "__main__":
    main()
