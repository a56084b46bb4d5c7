"""Whether a library is installed that only one output needs."""

from importlib.util import find_spec

from abench.errors import ParameterError


def check_installed(option: str, module: str, package: str) -> None:
    """Raise ParameterError, before the run, if the module of a package is missing."""
    if find_spec(module) is None:
        raise ParameterError(option, f"needs {package}: pip install {package}")
