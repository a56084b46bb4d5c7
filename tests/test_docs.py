"""The documentation: tables that are written from the code, links, and examples."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [
    *sorted(ROOT.glob("*.md")),
    ROOT / "examples" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)|\b(?:src|srcset)=\"([^\"]+)\"")


def settings_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_settings", ROOT / "docs" / "settings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_settings_are_those_of_the_code() -> None:
    script = settings_script()
    page = script.PAGE.read_text()
    assert script.updated(page) == page, "run: make docs-settings"


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as they are on the forges."""
    headings = re.findall(r"^#+ (.*)", page.read_text(), re.MULTILINE)
    texts = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", text).strip().replace(" ", "-") for text in texts}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for name, anchor, source in LINK.findall(page.read_text()):
        target = (page.parent / (name or source)).resolve() if name or source else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append((name or source, anchor))
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_module_that_is_named_exists(page: Path) -> None:
    files = [
        f"/{path.relative_to(ROOT)}"
        for package in ("aserve", "abench", "tests", "benchmarks", "docs", "examples", "tools")
        for path in (ROOT / package).rglob("*.py")
    ]
    named = set(re.findall(r"`([\w/]+\.py)`", page.read_text()))
    assert [name for name in named if not any(file.endswith(f"/{name}") for file in files)] == []


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_in_python_compile(page: Path) -> None:
    for example in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        compile(example, str(page), "exec")
