"""Internal errors: each closes one connection and nothing else, and writes one line to the log."""

import logging
import traceback
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, Protocol, TypeVar

_MAX_LENGTH = 300  # characters of the exception's text in the log

_logger = logging.getLogger("aserve")


class _Connection(Protocol):
    def fail(self, error: Exception) -> None:
        """Close the connection because of an internal error."""


P = ParamSpec("P")
C = TypeVar("C", bound=_Connection)


def isolate_errors(step: Callable[Concatenate[C, P], None]) -> Callable[Concatenate[C, P], None]:
    """Make an exception in a step of a connection close that connection and nothing else."""

    @wraps(step)
    def isolated(connection: C, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            step(connection, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - the boundary
            connection.fail(error)

    return isolated


def log_internal_error(error: BaseException, client: str) -> None:
    """Log an unexpected exception and the place where it was raised."""
    _logger.error(
        "internal error: %s; closing the connection from %s", describe_exception(error), client
    )


def describe_exception(error: BaseException) -> str:
    """Return an exception and the place that raised it, as one line."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return repr(error)[:_MAX_LENGTH] + where
