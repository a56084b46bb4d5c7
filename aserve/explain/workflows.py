"""The numbered steps in which books describe the models: by_the_book.toml is their only home."""

import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from aserve.explain.phrase import Phrase


def described_models() -> list[dict[str, Any]]:
    """Return what books say of each model, what aserve does and why, and the steps of some."""
    text = files(__package__).joinpath("by_the_book.toml").read_text(encoding="utf-8")
    models: list[dict[str, Any]] = tomllib.loads(text)["model"]
    return models


_STEPS = {model["name"]: model["step"] for model in described_models() if "step" in model}
_STEPS["asyncio"] = _STEPS["simulated-proactor"]  # the same, on another event loop

WORKFLOWS: Mapping[str, Sequence[Phrase]] = {
    name: tuple(Phrase(step["en"]) for step in steps) for name, steps in _STEPS.items()
}
"""The steps, by the name of the model that is meant to take them."""

CHINESE_STEPS: Mapping[str, str] = {
    step["en"]: step["zh"] for steps in _STEPS.values() for step in steps
}
