"""What can go wrong before a run has figures to show, in one vocabulary.

Each error carries the exit code that webbench documents for it: 1 the server cannot be reached,
2 a bad parameter, 3 an internal fault.
"""


class AbenchError(Exception):
    """A reason not to run; `str(error)` is the one line a user reads."""

    exit_code = 3


class UnreachableError(AbenchError):
    """The server's name does not resolve, or nothing there completes a connection."""

    exit_code = 1

    def __init__(self, host: str, port: int, reason: str) -> None:
        at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if host.startswith(("/", "@", ".")):  # a socket's path
            at = host
        super().__init__(f"cannot reach {at}: {reason}")


class ParameterError(AbenchError):
    """A value that no run can be made of; `parameter` is the option's name, or URL."""

    exit_code = 2

    def __init__(self, parameter: str, reason: str) -> None:
        super().__init__(f"{parameter}: {reason}")
        self.parameter, self.reason = parameter, reason
