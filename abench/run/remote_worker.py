"""One share of a run on another machine: an ordinary worker, told by pipes what to do.

    python -m abench.run.remote_worker

A Plan comes on standard input, as its length in eight octets and its pickle; behind it come the
orders, and the end of it stops the run. Messages leave on standard output, one a line.
"""

import json
import os
import pickle
import sys
from dataclasses import asdict

from abench.errors import AbenchError
from abench.plan.plan import Plan
from abench.run import coordinator, worker
from abench.stats.summary import Summary

_LENGTH = 8


def pack_plan(plan: Plan) -> bytes:
    """Return what `received` reads."""
    octets = pickle.dumps(plan)
    return len(octets).to_bytes(_LENGTH, "big") + octets


def read_plan(descriptor: int) -> Plan:
    """Read a Plan, and not an octet more: what is behind it are orders."""
    length = int.from_bytes(_read_exactly(descriptor, _LENGTH), "big")
    plan: Plan = pickle.loads(_read_exactly(descriptor, length))  # noqa: S301 - from our own program
    return plan


def _read_exactly(descriptor: int, octets: int) -> bytes:
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
        case worker.WarmupUpdate():
            return json.dumps(["Warm", message.part.encode()])
        case worker.Finished():
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
            return worker.WarmupUpdate(Summary.decode(content))
        case "Done":
            return worker.Finished(Summary.decode(content))
        case "Ready":
            return worker.Ready(**content)
        case "Started":
            return worker.Started()
        case _:
            return worker.WorkerError(**content)


def main() -> None:
    """Be a worker until the share is done or the orders end."""
    messages = os.dup(sys.stdout.fileno())

    def send(message: worker.Message) -> None:
        with os.fdopen(os.dup(messages), "w") as stream:
            stream.write(encode(message) + "\n")

    try:
        plan = coordinator.resolve(read_plan(0))
        coordinator.raise_descriptor_limit(plan)
        worker.serve(plan, 0, send)
    except AbenchError as error:
        send(worker.WorkerError(str(error), error.exit_code))
    except (EOFError, OSError) as error:
        send(worker.WorkerError(str(error)))


if __name__ == "__main__":
    main()
