"""A scenario as it travels to the workers: the text of its file, and the data that it reads."""

from collections.abc import Mapping
from dataclasses import dataclass

from abench.plan import inputs


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
