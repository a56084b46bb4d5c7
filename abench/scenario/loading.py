"""Loads a scenario: runs its file once, and finds the paths in it."""

import inspect
import sys
import traceback
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path as FilePath
from types import ModuleType
from typing import Any

from abench.errors import ParameterError
from abench.plan.scenario_file import ScenarioFile
from abench.scenario import rows
from abench.scenario.user import WEIGHT, User
from abench.stats.scenario_counts import describe_exception

Path = Callable[[User], Coroutine[Any, Any, object]]
"""What users take again and again: an async function of a scenario."""

MODULE = "abench_scenario"


@dataclass(frozen=True)
class Scenario:
    """A scenario that is loaded: its file with the data that it has read, and its paths.

    `paths` are the async functions of the file whose names do not begin with an underscore, with
    their weights. `url` is its `URL`, "" without one.
    """

    file: ScenarioFile
    paths: dict[Path, int]
    url: str

    def is_source_of(self, error: BaseException) -> bool:
        """Return whether an exception came from the file, or from what it called."""
        return _last_line(error, self.file.path) is not None

    def place_of(self, error: BaseException) -> str:
        """Return where an exception came from: the file's name and the last of its lines."""
        line = _last_line(error, self.file.path)
        name = FilePath(self.file.path).name
        return f"{name}:{line}" if line else name


@lru_cache(1)
def load(file: ScenarioFile) -> Scenario:
    """Load a scenario; raises ParameterError, with file and line, if that is not possible.

    The last one is kept: what a process has loaded, those that it forks have as well.
    """
    data = dict(file.data)
    module = _run(file, data)
    paths = _paths(file, module)
    if not paths:
        raise ParameterError(
            file.path, "it has no path: an async function of a user, without _ before its name"
        )
    url = getattr(module, "URL", "")
    if not isinstance(url, str):
        raise ParameterError(file.path, f"URL must be a text, not {url!r}")
    return Scenario(file.with_data(data), paths, url)


def _run(file: ScenarioFile, data: dict[str, bytes]) -> ModuleType:
    """Run the file as a module; what it imports may be in its directory."""
    directory = FilePath(file.path).resolve().parent
    module = ModuleType(MODULE)
    module.__file__ = file.path
    sys.modules[MODULE] = module  # dataclasses look for the module of their class
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))
    try:
        code = compile(file.source, file.path, "exec", dont_inherit=True)
        with rows.data_files(directory, data):
            exec(code, module.__dict__)  # noqa: S102 - it is the user's own program
    except SyntaxError as error:
        if error.filename == file.path:
            raise ParameterError(f"{file.path}:{error.lineno}", error.msg) from None
        raise _load_error(file, error) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the file raises
        raise _load_error(file, error) from None
    return module


def _load_error(file: ScenarioFile, error: BaseException) -> ParameterError:
    line = _last_line(error, file.path)
    place = f"{file.path}:{line}" if line else file.path
    if isinstance(error, OSError) and error.filename:
        return ParameterError(place, f"{error.filename}: {(error.strerror or '').lower()}")
    if isinstance(error, rows.RowsError):
        return ParameterError(place, str(error))
    return ParameterError(place, describe_exception(error))


def _last_line(error: BaseException, path: str) -> int | None:
    """Return the line of the file at `path` that was reached last before an exception."""
    lines = [
        line for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename == path
    ]  # fmt: skip
    return lines[-1] if lines else None


def _paths(file: ScenarioFile, module: ModuleType) -> dict[Path, int]:
    found: dict[Path, int] = {}
    for name, one in vars(module).items():
        is_own = inspect.isfunction(one) and one.__module__ == MODULE
        if is_own and inspect.iscoroutinefunction(one) and not name.startswith("_"):
            _check_parameters(file, name, one)
            found[one] = getattr(one, WEIGHT, 1)
    return found


def _check_parameters(file: ScenarioFile, name: str, path: Path) -> None:
    try:
        inspect.signature(path).bind(None)
    except TypeError:
        line = path.__code__.co_firstlineno
        raise ParameterError(
            f"{file.path}:{line}",
            f"{name} is a path, which takes a user and no more; begin the name of a helper with _",
        ) from None
