"""The version of the installed distribution."""

from importlib.metadata import version

# Not "aserve": on the public index that name belongs to another package.
DISTRIBUTION = "aserve-http"


def abench_version() -> str:
    """Return abench's version, for instance "0.1.0"."""
    return version(DISTRIBUTION)
