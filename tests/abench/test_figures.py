"""What follows from the declarations of figures: the schema, the manual, names of conditions."""

import importlib.util
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

import jsonschema
import pytest

from abench.errors import ParameterError
from abench.report import document
from abench.stats.figure import Figure, compared_figures, derived, entries, stored_figures
from abench.stats.latency import Latency
from abench.stats.results import Results
from abench.stats.thresholds import Condition

ROOT = Path(__file__).parents[2]
DOCUMENTS = Path(__file__).parent / "documents"


@cache
def figures_script():
    spec = importlib.util.spec_from_file_location("docs_figures", ROOT / "docs" / "figures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_schema_and_manual_are_those_of_the_code():
    script = figures_script()
    assert script.SCHEMA.read_text() == script.schema_text(), "run: make docs-settings"
    page = script.PAGE.read_text()
    assert script.updated(page) == page, "run: make docs-settings"


@cache
def schema_validator():
    schema = figures_script().schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", sorted(DOCUMENTS.rglob("*.json")), ids=lambda path: path.stem)
def test_documents_of_every_kind_match_the_schema(path):
    validator = schema_validator()
    plain = json.loads(path.read_text())
    validator.validate(plain)
    for key in set(plain) & set(validator.schema["required"]):
        without = {name: value for name, value in plain.items() if name != key}
        with pytest.raises(jsonschema.ValidationError):
            validator.validate(without)


def test_no_key_is_declared_twice():
    for listed in (document.ENTRIES, entries(Latency)):
        keys = [entry.key for entry in listed]
        assert len(keys) == len(set(keys))


def test_figure_that_was_added_later_has_a_default():
    """Otherwise, an early document could not be read."""
    plain = json.loads((DOCUMENTS / "early.json").read_text())
    for _, _, figure in stored_figures(Results):
        group, _, name = figure.key.rpartition("/")
        inside = plain[group] if group else plain
        assert (name in inside) != figure.later, figure.key


@dataclass(frozen=True)
class Half:
    """A part with a figure of its own."""

    value: Annotated[int, Figure("Value", "A value.", "s", key="halves/first")]

    @property
    @derived("Twice", "s", key="halves/zeroth", after="")
    def twice(self) -> int:
        """Twice the value."""
        return 2 * self.value


@dataclass(frozen=True)
class Whole:
    """An object with an inline part, and figures that are moved."""

    half: Annotated[Half, Figure(inline=True)]
    by_name: Annotated[dict[str, int], Figure("Named", names={"a.b": "A", "c": "C"})]
    last: Annotated[int, Figure("Last")]
    third: Annotated[int, Figure("Third", after="halves/first")]


def test_entries_stand_where_their_declarations_say():
    whole = Whole(Half(4), {"a.b": 1, "c": 2}, 9, 5)
    assert [(one.key, one.get(whole)) for one in entries(Whole)] == [
        ("halves/zeroth", 8),
        ("halves/first", 4),
        ("third", 5),
        ("a.b", 1),
        ("c", 2),
        ("last", 9),
    ]
    assert entries(Half)[0].figure.text == "Twice the value."


def test_conditions_and_comparisons_are_named_by_the_declarations():
    with pytest.raises(ParameterError) as caught:
        Condition.parse("nothing>1")
    known = str(caught.value).partition("is not one of ")[2].split(", ")
    assert set(known) == {
        *("errors", "stale", "retried", "unfinished", "late", "skipped", "pages", "achieved"),
        *("silence", "min", "mean", "max", "p50 to p99.9999", "checks", "iterations"),
    }
    assert compared_figures(Results) == {"pages/sec": True}
    assert compared_figures(Latency) == dict.fromkeys(("p50", "p90", "p99"), False)
