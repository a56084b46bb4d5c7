"""One share of a run on another machine: an ordinary worker, controlled through pipes.

    python -m abench.runner.remote_worker SECONDS

A Plan is read from standard input, as its length in eight bytes and its pickle. The orders follow
it, and the end of input stops the run; so do SECONDS without an order, of which a blank is one that
means nothing. So whatever happens to all that stands between, no load is left behind. Messages are
written to standard output, one per line.
"""

import json
import os
import pickle
import select
import sys
import threading
from dataclasses import asdict

from abench.errors import AbenchError
from abench.plan.plan import Plan
from abench.runner import preflight, worker
from abench.stats.summary import Summary

_LENGTH_SIZE = 8
KEEP_ALIVE = b" "


def pack_plan(plan: Plan) -> bytes:
    """Return a plan as `read_plan` reads it."""
    data = pickle.dumps(plan)
    return len(data).to_bytes(_LENGTH_SIZE, "big") + data


def read_plan(descriptor: int) -> Plan:
    """Read a Plan, and not a byte more: orders follow it. Raises EOFError if it is incomplete."""
    length = int.from_bytes(_read_exactly(descriptor, _LENGTH_SIZE), "big")
    plan: Plan = pickle.loads(_read_exactly(descriptor, length))  # noqa: S301 - from our own program
    return plan


def _read_exactly(descriptor: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        received = os.read(descriptor, size - len(data))
        if not received:
            raise EOFError("the plan ended early")
        data += received
    return data


def encode(message: worker.Message) -> str:
    """Return a message as one line."""
    match message:
        case Summary():
            return json.dumps(["Summary", message.encode()])
        case worker.WarmupUpdate():
            return json.dumps(["WarmupUpdate", message.counts.encode()])
        case worker.Finished():
            return json.dumps(["Finished", message.last.encode()])
        case _:
            return json.dumps([type(message).__name__, asdict(message)])


def decode(line: str) -> worker.Message:
    """Return the message that `encode` made a line of."""
    kind, content = json.loads(line)
    match kind:
        case "Summary":
            return Summary.decode(content)
        case "WarmupUpdate":
            return worker.WarmupUpdate(Summary.decode(content))
        case "Finished":
            return worker.Finished(Summary.decode(content))
        case "Ready":
            return worker.Ready(**content)
        case "Started":
            return worker.Started()
        case _:
            return worker.WorkerError(**content)


def pass_orders(source: int, sink: int, lease_s: float) -> None:
    """Pass orders on until they end, or stay away for longer than `lease_s`; then close the sink.

    A regular `select` and not a timer of the worker's loop: the lease costs that loop nothing.
    """
    while select.select([source], (), (), lease_s)[0] and (order := os.read(source, 1)):
        if order != KEEP_ALIVE:
            os.write(sink, order)
    os.close(sink)


def main() -> None:
    """Run a worker until the share is done or the orders end."""
    messages = os.dup(sys.stdout.fileno())

    def send(message: worker.Message) -> None:
        if isinstance(message, worker.Finished):
            preflight.record_lookup(plan, message.last)
        with os.fdopen(os.dup(messages), "w") as stream:
            stream.write(encode(message) + "\n")

    try:
        plan = preflight.resolve(read_plan(0))
        preflight.raise_descriptor_limit(plan)
        orders, sink = os.pipe()
        threading.Thread(
            target=pass_orders, args=(0, sink, float(sys.argv[1])), daemon=True
        ).start()
        worker.serve(plan, orders, send)
    except AbenchError as error:
        send(worker.WorkerError(str(error), error.exit_code))
    except (EOFError, OSError) as error:
        send(worker.WorkerError(str(error)))


if __name__ == "__main__":
    main()
