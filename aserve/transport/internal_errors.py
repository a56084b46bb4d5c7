"""Faults of our own: each ends one connection and nothing else, and is one line in the log."""

import logging
import traceback
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, Protocol, TypeVar

_MAX_LENGTH = 300  # characters of an exception's own text

_logger = logging.getLogger("aserve")


class _Connection(Protocol):
    def fail(self, error: Exception) -> None:
        """End because of a fault of ours."""


P = ParamSpec("P")
C = TypeVar("C", bound=_Connection)


def isolate_errors(step: Callable[Concatenate[C, P], None]) -> Callable[Concatenate[C, P], None]:
    """Let what a step of a connection raises end that connection and nothing else."""

    @wraps(step)
    def take(connection: C, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            step(connection, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - the boundary
            connection.fail(error)

    return take


def log_internal_error(error: BaseException, client: str) -> None:
    """Log an exception that no code was written for, and where it was raised."""
    _logger.error(
        "internal error: %s; the connection from %s ends", describe_exception(error), client
    )


def describe_exception(error: BaseException) -> str:
    """Return an exception and the place that raised it, on one line."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return repr(error)[:_MAX_LENGTH] + where
