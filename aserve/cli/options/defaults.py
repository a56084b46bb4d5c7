"""What help says of defaults: what Settings has."""

from dataclasses import fields

from aserve.config.settings import Settings

DEFAULTS = {field.name: field.default for field in fields(Settings)}
"""By the names of settings."""


def default(setting: str) -> str:
    """Return the default of a setting as help shows it."""
    return str(DEFAULTS[setting])
