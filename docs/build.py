"""Build the documentation as a site, and check every link in it.

python docs/build.py [DIRECTORY], or make docs: the site is in DIRECTORY/site (build/site). Each
page keeps its place in the repository, so that a link works on a git host and in the site. Links to
other sites are listed, not fetched.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

ROOT = Path(__file__).parent.parent
INDEX = ROOT / "docs" / "README.md"
CONFIG = ROOT / "docs" / "zensical.toml"
_EXTRAS = (ROOT / "docs" / "site.css", ROOT / "www" / "mark.svg")
_ORIGIN = "http://site.invalid/"
_LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)|\b(?:src|srcset|href)=\"([^\"#]+)\"")


class Page(HTMLParser):
    """What a page of HTML refers to, and its anchors."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        """Where a click leads."""
        self.loads: set[str] = set()
        """What the browser fetches to show the page."""
        self.anchors = {""}
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element refers to, and its own name."""
        for name, value in attrs:
            if value is None:
                continue
            if name == "id":
                self.anchors.add(value)
            elif name in {"href", "src", "srcset"}:
                (self.links if tag == "a" else self.loads).add(value)


def main() -> int:
    """Build the site; exit code 1 if a link is broken or the generator warns."""
    build = Path(sys.argv[1] if sys.argv[1:] else ROOT / "build").resolve()
    stage(build / "source")
    if warnings := generate(write_config(build)):
        print(warnings, file=sys.stderr)
        return 1
    broken, external = check_links(build / "site")
    print("The site is in", build / "site")
    print(f"{len(external)} links to other sites, not fetched:", *external, sep="\n  ")
    for line in broken:
        print(f"broken: {line}", file=sys.stderr)
    return int(bool(broken))


def generate(config: Path) -> str:
    """Run the generator; return its warnings, any of which is an error, or the reason it failed."""
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "--config-file"]
    done = subprocess.run([*command, str(config)], check=False, capture_output=True, text=True)
    if not done.returncode:
        return ""
    text = re.sub(r"\x1b\[[0-9;]*m", "", done.stderr).strip()
    return text.partition("\nTraceback")[0] if text.endswith("--strict flag is set") else text


def stage(source: Path) -> None:
    """Copy README.md and every file that it leads to, link by link, to the same places."""
    shutil.rmtree(source, ignore_errors=True)
    pending = [ROOT / "README.md", *_EXTRAS]
    seen = set(pending)
    while pending:
        file = pending.pop()
        target = source / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        if file.suffix == ".md":
            more = set(linked_files(file)) - seen
            seen |= more
            pending += more


def linked_files(page: Path) -> Iterator[Path]:
    """Yield the files of the repository that a page of Markdown refers to."""
    for groups in _LINK.findall(page.read_text(encoding="utf-8")):
        file = (page.parent / "".join(groups)).resolve()
        if file.is_file() and file.is_relative_to(ROOT):
            yield file


def write_config(build: Path) -> Path:
    """Write the generator's configuration, with the order of the index; return its path."""
    path = build / "zensical.toml"
    sections = [f"  {{ {json.dumps(title)} = {json.dumps(pages)} }},\n" for title, pages in index()]
    text = CONFIG.read_text(encoding="utf-8")
    path.write_text(f"{text}nav = [\n{''.join(sections)}]\n", encoding="utf-8")
    return path


def index() -> Iterator[tuple[str, list[str]]]:
    """Yield each section of the index with its pages; a page belongs to the first that names it."""
    overview = ["README.md", "docs/README.md", "CHANGELOG.md"]
    yield "Overview", overview
    seen = {ROOT / page for page in overview}
    for section in INDEX.read_text(encoding="utf-8").split("\n## ")[1:]:
        links = re.findall(r"^[-|] *\[[^]]*\]\(([^)#]+\.md)\)", section, re.MULTILINE)
        pages = [page for link in links if (page := (INDEX.parent / link).resolve()) not in seen]
        seen.update(pages)
        yield section.partition("\n")[0], [str(page.relative_to(ROOT)) for page in pages]


def check_links(site: Path) -> tuple[list[str], list[str]]:
    """Return what is broken, and the links to other sites."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    anchors = {path: page.anchors for path, page in pages.items()}
    broken, external = [], set()
    for path, page in pages.items():
        name = path.relative_to(site).as_posix()
        for link in page.links | page.loads:
            url = urlsplit(urljoin(_ORIGIN + name, link))
            if url.geturl().startswith(_ORIGIN):
                target, anchor = site / unquote(url.path[1:]), unquote(url.fragment)
                target = target / "index.html" if target.is_dir() else target
                found = target.is_file() and anchor in anchors.get(target, {anchor})
            else:
                external.add(link)
                found = link not in page.loads  # without a network nothing else can be loaded
            if not found:
                broken.append(f"{name}: {link}")
    return sorted(broken), sorted(external)


if __name__ == "__main__":
    sys.exit(main())
