"""The results: a JSON file for each work, with every round and what is needed to repeat it."""

import functools
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from benchmarks.products import versions
from benchmarks.servers import HERE
from benchmarks.work import Work
from benchmarks.works import WORKS

FOLDER = Path("benchmarks/results")

DIGITS = 5
"""Significant digits: more would be noise."""


@dataclass(slots=True)
class Result:
    """The results of one work.

    rounds: server -> figure -> its value in each round. thrown_out: server -> why rounds of it were
    discarded. conditions: where, when, with which versions and commands.
    """

    work: str
    title: str
    conditions: dict[str, Any]
    rounds: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    thrown_out: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def begun(cls, work: Work, names: Sequence[str], rounds: int, seconds: int) -> Self:
        """Return an empty result."""
        settings = {"rounds": rounds, "seconds": seconds, "load": work.kind.load_command(seconds)}
        commands = {"servers": {name: work.kind.command(name, seconds) for name in names}}
        return cls(work.name, work.title, conditions() | settings | commands)

    def add(self, server: str, figures: dict[str, float]) -> None:
        """Add one round."""
        for name, value in figures.items():
            kept = float(f"{value:.{DIGITS}g}")
            self.rounds.setdefault(server, {}).setdefault(name, []).append(kept)

    def throw_out(self, server: str, reason: str) -> None:
        """Store why a round of a server was discarded."""
        self.thrown_out.setdefault(server, []).append(reason)

    def save(self, directory: Path) -> None:
        """Write the file of this work."""
        directory.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        (directory / f"{self.work}.json").write_text(text + "\n")


def read(directory: Path, names: Iterable[str] = WORKS) -> dict[str, Result]:
    """Return the results in a directory, by work and in the order of some names."""
    files = {name: directory / f"{name}.json" for name in names}
    return {
        name: Result(**json.loads(file.read_text()))
        for name, file in files.items()
        if file.exists()
    }


def conditions() -> dict[str, Any]:
    """Return the time, the machine, the versions, and the revision that is measured."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": machine(),
        "revision": revision(),
        "versions": versions(),
    }


def machine() -> str:
    """Return the processor, its cores, and the kernel."""
    cpus = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in cpus if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release().partition('-')[0]}"


@functools.cache
def revision() -> str:
    """Return the commit that is measured, and whether aserve was changed since."""
    commit = _git("rev-parse", "--short", "HEAD") or "unknown"
    return commit + " with changes" * bool(_git("status", "--porcelain", "--", "aserve"))


def _git(*words: str) -> str:
    asked = ["git", *words]
    done = subprocess.run(asked, cwd=HERE.parent, capture_output=True, text=True, check=False)
    return done.stdout.strip()
