"""What is wrong with a line of a file of rules."""

from typing import NamedTuple


class Problem(NamedTuple):
    """A line that has no effect, or not the one that it seems to have, and why.

    file: its name. line: counted from 1; 0 for the file as a whole.
    """

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        """Return the message for users: _redirects:12: the reason."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.reason}"


class RuleError(ValueError):
    """A line cannot be used; the text is the reason."""
