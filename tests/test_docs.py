"""The documentation: tables that are written from the code, links, and examples."""

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from abench.plan.plan import Plan
from abench.report import document
from abench.stats.results import build_results
from abench.stats.summary import Summary
from aserve.transport.registry import MODELS

ROOT = Path(__file__).parent.parent
PAGES = [
    *sorted(ROOT.glob("*.md")),
    ROOT / "examples" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)|\b(?:src|srcset)=\"([^\"]+)\"")
SCHEMA = ROOT / "docs" / "abench-report.schema.json"


def settings_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_settings", ROOT / "docs" / "settings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_settings_are_those_of_the_code() -> None:
    script = settings_script()
    page = script.PAGE.read_text()
    assert script.updated(page) == page, "run: make docs-settings"
    assert script.SCHEMA.read_text() == script.schema(), "run: make docs-settings"


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as they are on the forges."""
    headings = re.findall(r"^#+ (.*)", page.read_text(), re.MULTILINE)
    texts = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", text).strip().replace(" ", "-") for text in texts}


def test_every_link_leads_somewhere() -> None:
    broken = []
    for page in PAGES:
        for name, anchor, source in LINK.findall(page.read_text()):
            target = (page.parent / (name or source)).resolve() if name or source else page
            if not target.exists() or (anchor and anchor not in anchors(target)):
                broken.append((page, name or source, anchor))
    assert broken == []


def test_every_module_that_is_named_exists() -> None:
    modules = all_modules()
    named = {
        (page, name) for page in PAGES for name in re.findall(r"`([\w/]+\.py)`", page.read_text())
    }
    unknown = [each for each in named if not any(path.endswith(f"/{each[1]}") for path in modules)]
    assert unknown == []


def all_modules() -> list[str]:
    packages = ("aserve", "abench", "tests", "benchmarks", "docs", "examples", "tools")
    paths = (path for package in packages for path in (ROOT / package).rglob("*.py"))
    return [f"/{path.relative_to(ROOT)}" for path in paths]


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    linked = {name for name, _, _ in LINK.findall(index)}
    assert pages - linked == {"README.md"}


def test_the_names_of_the_vocabulary_exist() -> None:
    """A name of a class, a function or a table; not one with a dash, dots or spaces."""
    page = (ROOT / "docs" / "vocabulary.md").read_text()
    code = "\n".join(
        path.read_text()
        for package in ("aserve", "abench")
        for path in (ROOT / package).rglob("*.py")
    )
    defined = set(re.findall(r"(?:\bclass |\bdef |^)([A-Za-z_]\w*)", code, re.MULTILINE))
    named = set(re.findall(r"`([A-Za-z_]\w+)`", page.partition("## HTTP, in aserve")[2]))
    assert len(named) > 20
    assert named - defined == set()


def test_examples_in_python_compile() -> None:
    for page in PAGES:
        for example in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
            compile(example, str(page), "exec")  # its error names the page


def keys_of(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every key that a schema names, with its own schema."""
    for name, of_key in schema.get("properties", {}).items():
        yield f"{path}.{name}", of_key
        yield from keys_of(of_key, f"{path}.{name}")
        yield from keys_of(of_key.get("items", {}), f"{path}.{name}[]")


def test_the_schema_of_the_report_describes_every_key() -> None:
    schema = json.loads(SCHEMA.read_text())
    keys = dict(keys_of(schema))
    for name, definition in schema["$defs"].items():
        keys |= {f"{name}": definition, **dict(keys_of(definition, name))}
    assert len(keys) > 150
    assert [path for path, key in keys.items() if not {"title", "description"} <= key.keys()] == []


def test_the_schema_of_the_report_says_when_a_value_is_null() -> None:
    for path, key in keys_of(json.loads(SCHEMA.read_text())):
        nullable = "null" in key.get("type", ()) or {"type": "null"} in key.get("oneOf", ())
        assert nullable == bool(re.search(r"\bnull\b", key["description"], re.IGNORECASE)), path


def unnamed_keys(value: Any, schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield the keys of JSON data that its schema does not name."""
    schema = schema.get("oneOf", [schema])[-1]
    if "$ref" in schema:
        schema = json.loads(SCHEMA.read_text())["$defs"][schema["$ref"].rpartition("/")[2]]
    for one in value if isinstance(value, list) else ():
        yield from unnamed_keys(one, schema["items"], f"{path}[]")
    named = schema.get("properties", {})
    is_map = not named and {"additionalProperties", "patternProperties"} & schema.keys()
    for key, one in value.items() if isinstance(value, dict) and not is_map else ():
        if key not in named:
            yield f"{path}.{key}"
        yield from unnamed_keys(one, named.get(key, {}), f"{path}.{key}")


def test_the_schema_of_the_report_names_every_key_of_a_report() -> None:
    plan = Plan(url="http://127.0.0.1/", duration_s=1, rate=10)
    report = document.to_document(build_results(plan, Summary(elapsed_ns=1_000_000_000)))
    assert report["series"]
    assert report["schedule"]
    assert list(unnamed_keys(report, json.loads(SCHEMA.read_text()))) == []


def quoted_messages(page: Path) -> Iterator[str]:
    """Yield what a page quotes of what programs print: inline code that reads like a sentence."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for line in text.splitlines():
        for quoted in re.findall(r"`([^`]+)`", line):
            is_sentence = re.search(r"\b(is|has|could|cannot|no|not) ", f"{quoted} ")
            if is_sentence and re.match(r"[a-z]+ ", quoted):
                yield quoted


@pytest.mark.parametrize("program", ["aserve", "abench"])
def test_a_quoted_message_is_one_that_the_program_prints(program: str) -> None:
    sources = "\n".join(path.read_text() for path in sorted((ROOT / program).rglob("*.py")))
    messages = list(quoted_messages(ROOT / "docs" / f"{program}.md"))
    assert messages
    for message in messages:
        words = (
            r"\{[^}]+\}" if word in MODELS or word.isdecimal() else re.escape(word)
            for word in message.split()
        )
        assert re.search(" ".join(words), sources) or message in sources, message
