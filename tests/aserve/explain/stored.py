"""Stored traces of real runs: see traces/record.py."""

import json
import shutil
import tempfile
from functools import cache
from pathlib import Path

from aserve.explain.capture import RequestTrace, ServerOptions, make_trace
from aserve.explain.collect import collect
from aserve.explain.events import Activity, TraceEvent
from aserve.explain.phrase import Phrase

TRACES = Path(__file__).parent / "traces"
NAMES = sorted(path.name for path in TRACES.iterdir() if path.is_dir())


@cache
def stored(name: str) -> RequestTrace:
    """Return a stored trace."""
    facts = json.loads((TRACES / name / "clients.json").read_text())
    clients = [
        TraceEvent(at, thread, Phrase(text, values), Activity[activity], at, at, peer=peer)
        for at, thread, text, values, activity, peer in facts["events"]
    ]
    with tempfile.TemporaryDirectory() as directory:
        for file in ("calls", "marks"):
            shutil.copy(TRACES / name / file, directory)
        found = collect(Path(directory), clients, facts["rests"], facts["end"], is_libuv=False)
    server = ServerOptions(name, by_the_book=name == "reactor")
    status = "HTTP/1.1 200 OK"
    return make_trace(server, "/a.txt", status, found, facts["end"], has_syscalls=True)
