"""The errors that can stop a run before it has figures to show.

Each error carries the exit code that webbench documents for it: 1 the server cannot be reached,
2 a bad parameter, 3 an internal error.
"""


class AbenchError(Exception):
    """An error that ends abench; `str(error)` is the one line that the user reads."""

    exit_code = 3


class UnreachableError(AbenchError):
    """The name of the server does not resolve, or no address accepts a connection."""

    exit_code = 1

    def __init__(self, host: str, port: int, reason: str) -> None:
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if host.startswith(("/", "@", ".")):  # the path of a socket
            address = host
        super().__init__(f"cannot reach {address}: {reason}")


class ParameterError(AbenchError):
    """A value that makes a run impossible; `parameter` is the name of the option, or URL."""

    exit_code = 2

    def __init__(self, parameter: str, reason: str) -> None:
        super().__init__(f"{parameter}: {reason}")
        self.parameter, self.reason = parameter, reason
