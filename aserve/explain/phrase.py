"""Short texts in English, with the names and numbers in them apart, to be translated."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Phrase:
    """A text. template: English, as str.format takes it; values: what it names."""

    template: str
    values: Mapping[str, str | int] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return self.template.format_map(self.values)

    def translated(self, catalogue: Mapping[str, str]) -> str:
        """Return the text in another language; in English where it has no translation."""
        return catalogue.get(self.template, self.template).format_map(self.values)
