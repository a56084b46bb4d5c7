"""The directories of the rows, and what is in them."""

from collections.abc import Iterable
from pathlib import Path

from tests.aserve.writing.rows import FILES, GONE, Row, Tree


def directory_of(row: Row, root: Path) -> Path:
    """Return the directory of a row: where its request says that it is."""
    target = row.head.split(" ")[1]
    prefix = target.removeprefix("http://test").partition("{d}")[0].strip("/.")
    return root / prefix / row.name


def build(root: Path, rows: Iterable[Row]) -> None:
    """Fill a site: each row has a directory."""
    outside = root.parent / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "x.txt").write_bytes(b"outside")
    for row in rows:
        fill(directory_of(row, root), outside)


def fill(directory: Path, outside: Path) -> None:
    """Fill the directory of one row."""
    for name, content in FILES.items():
        path = directory / name
        if content is None:
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    (directory / "link").symlink_to("old.txt")
    (directory / "out").symlink_to(outside)


def tree_of(directory: Path) -> Tree:
    """Return what is in a directory, as FILES; links are left out, as nothing follows them."""
    paths = [path for path in directory.rglob("*") if not path.is_symlink()]
    return {
        str(path.relative_to(directory)): None if path.is_dir() else path.read_bytes()
        for path in paths
    }


def expected_tree(row: Row) -> Tree:
    """Return what must be in the directory of a row after it."""
    tree = {**FILES, **row.changes}
    return {name: content for name, content in tree.items() if content != GONE}  # type: ignore[misc]
