"""Reads where and how a run is made.

Imported when a run has a reader for it: the versions of packages take a tenth of a short run.
"""

import os
import platform
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from abench.plan.target import without_secrets
from abench.stats.environment import Environment
from abench.version import abench_version

_PACKAGES = ("uvloop", "httptools", "hdrhistogram")
_REVISIONS = (
    *("GITHUB_SHA", "CI_COMMIT_SHA", "GIT_COMMIT", "BUILD_SOURCEVERSION", "CIRCLE_SHA1"),
    *("BITBUCKET_COMMIT", "BUILDKITE_COMMIT", "TRAVIS_COMMIT", "DRONE_COMMIT_SHA"),
)
"""Where CI systems have the commit that they build: GitHub, GitLab, Jenkins, Azure and others."""


def read_environment(arguments: Iterable[str]) -> Environment:
    """Return the current environment; `arguments` is the command line without secrets."""
    return Environment(
        command=("abench", *map(_printable, arguments)),
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={
            "abench": abench_version(),
            "python": platform.python_version(),
            **{name: _version(name) for name in _PACKAGES},
        },
        machine={
            "system": f"{platform.system()} {platform.release()}",
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        },
        revision=next(filter(None, map(os.environ.get, _REVISIONS)), None),
    )


def _printable(argument: str) -> str:
    """Escape bytes that are not UTF-8: other programs reject lone surrogates."""
    return without_secrets(os.fsencode(argument).decode(errors="backslashreplace"))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    found = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", text, re.MULTILINE)
    return f"{found[1].strip()} ({platform.machine()})" if found else platform.machine()
