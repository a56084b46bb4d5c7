"""Builds the sites in tests/exported with the generators that they are for: python and npm.

    python tools/exported_sites.py DIRECTORY [NAME...]

Each is built into DIRECTORY/NAME/site, where tests/clients/test_exported_sites.py looks for it. The
packages of a generator stay in DIRECTORY/NAME: a second run takes seconds.
"""

import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Mapping
from pathlib import Path

SOURCES = Path(__file__).parent.parent / "tests" / "exported"
MKDOCS = "mkdocs-material==9.8.2"


def build_mkdocs(directory: Path) -> None:
    """Build a site of MkDocs with the theme Material."""
    python = directory / "venv" / "bin" / "python"
    if not python.exists():
        venv.create(directory / "venv", with_pip=True)
    _run(directory, python, "-m", "pip", "install", "--quiet", MKDOCS)
    _run(directory, python, "-m", "mkdocs", "build", "--quiet", "--site-dir", directory / "site")


def build_vitepress(directory: Path) -> None:
    """Build a site of VitePress."""
    _npm_install(directory)
    _run(directory, "npx", "vitepress", "build", "docs", "--outDir", directory / "site")


def build_docusaurus(directory: Path) -> None:
    """Build a site of Docusaurus."""
    _npm_install(directory)
    _run(directory, "npx", "docusaurus", "build", "--out-dir", "site")


GENERATORS: Mapping[str, Callable[[Path], None]] = {
    "mkdocs": build_mkdocs,
    "vitepress": build_vitepress,
    "docusaurus": build_docusaurus,
}


def _npm_install(directory: Path) -> None:
    _run(directory, "npm", "install", "--no-audit", "--no-fund", "--silent")


def _run(directory: Path, *command: object) -> None:
    subprocess.run(list(map(str, command)), cwd=directory, check=True)


def main(root: Path, *names: str) -> None:
    """Build the sites of these names, or all of them."""
    for name in names or GENERATORS:
        directory = root.absolute() / name
        shutil.copytree(SOURCES / name, directory, dirs_exist_ok=True)
        GENERATORS[name](directory)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
