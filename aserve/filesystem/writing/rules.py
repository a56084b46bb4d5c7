"""What every change beneath a root obeys."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from aserve.filesystem.visibility import Visibility

Mode = Literal["all", "add"]
"""What is allowed: all, or only to add files and directories under new names."""

Guard = Callable[[os.stat_result | None], None]
"""Gets the status of what is at a path now, None where there is nothing, and raises its own error
to leave it as it is. Called while the directory is locked, unless nothing is there: it must not
wait."""


def allow(_status: os.stat_result | None) -> None:
    """Let every change happen: the Guard of a change without conditions."""


class Rules(NamedTuple):
    """What every change beneath a root obeys."""

    root: Path
    visibility: Visibility
    mode: Mode
    fsync: bool
