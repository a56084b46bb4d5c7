"""A scenario as it travels to the workers: the text of its file, and the data that it reads."""

from collections.abc import Mapping
from dataclasses import dataclass

from abench.errors import ParameterError
from abench.plan import inputs
from abench.plan.request import RequestTemplate
from abench.plan.target import PLACEHOLDER


@dataclass(frozen=True, slots=True)
class ScenarioFile:
    """A Python file with the paths that users take.

    `path` is as it was given, and `source` its text. `data` are the files that it read while it was
    loaded, by path: a worker on another machine needs none of them there.
    """

    path: str
    source: bytes
    data: tuple[tuple[str, bytes], ...] = ()

    @classmethod
    def read(cls, path: str) -> "ScenarioFile":
        """Read the file at `path`; raises ParameterError if that is not possible."""
        return cls(path, inputs.read("SCENARIO", path))

    def with_data(self, data: Mapping[str, bytes]) -> "ScenarioFile":
        """Return it with the data files that were read while it was loaded."""
        return ScenarioFile(self.path, self.source, tuple(sorted(data.items())))

    def check(self, template: RequestTemplate, *, makes_all: bool) -> None:
        """Raise ParameterError if a plan with that template makes requests itself."""
        if not makes_all:
            raise ParameterError("SCENARIO", "it makes all requests itself, one after the other")
        if any(PLACEHOLDER.decode() in value for _, value in template.headers):
            raise ParameterError("--header", "a scenario fills in its numbers itself, not {n}")
