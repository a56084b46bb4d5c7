"""Write docs/conformance.md from the table and from what was measured.

python -m tests.conformance.document
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from itertools import groupby
from typing import Any

from tests.conformance.compare import COMPARED, RESULTS
from tests.conformance.judge import statuses
from tests.conformance.pending import PENDING
from tests.conformance.rows import PARTS, ROWS
from tests.conformance.table import CLOSED, MAY, MUST, OURS, SHOULD, Expected, Row

Results = Mapping[str, Any]
"""What compare.py has noted, by server."""

PAGE = RESULTS.with_name("conformance.md")

_INTRODUCTION = """\
# Conformance

<!-- Written by: python -m tests.conformance.document. Change the table and not this page. -->

What RFC 9110, RFC 9111 and RFC 9112 ask of an origin server for files, row by row: the clause, how
strongly it asks, our answer, and the name of the test. The table was written from the RFCs and not
from our code, and each row is asked on three levels: of the pure semantics (`test_pure`), of the
connection without I/O, its octets cut in every way (`test_connection`), and over a real socket
(`test_socket`). One row alone: `make test ARGS="-k NAME tests/conformance"`.

Where a clause leaves a choice, the row allows every choice, and what aserve has chosen is asked of
aserve alone. Rows marked *ours* are such choices through and through: safety, or what the project
has promised.
"""

_COMPARISON = """\
## Compared with others

`make conformance SERVER=nginx` asks another server the same rows over a socket, without those that
are *ours* and with everything that a clause allows. Each serves the same tree, with entity tags and
precompressed files switched on where it has them, and is otherwise as its package leaves it. The
numbers are rows held; what failed, and how, is in [conformance-results.json]({results}).

A count of rows is a count and no verdict: a family of rows weighs as many times as it has rows, a
MAY is marked down only where neither choice was taken, and some of the others accept what they
should refuse for the sake of clients that nobody can mend.
"""


def page(results: Results) -> str:
    """Return the page."""
    parts = [_INTRODUCTION, _counts(), _COMPARISON.format(results=RESULTS.name), _compared(results)]
    if results:
        parts.append(_differences(results))
    parts.append("## The table\n\n" + "".join(_part(name, rows) for name, rows in PARTS.items()))
    return "\n".join(parts).rstrip("\n") + "\n"


def _table(*rows: tuple[str, ...]) -> str:
    """Return a Markdown table; its first row is the heading."""
    heading, *others = rows
    lines = [heading, ("---",) * len(heading), *others]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _counts() -> str:
    def cells(name: str, rows: list[Row]) -> tuple[str, ...]:
        levels = Counter(row.level for row in rows)
        return (name, *(str(levels[level]) for level in (MUST, SHOULD, MAY, OURS)), str(len(rows)))

    rows = [cells(name, rows) for name, rows in PARTS.items()]
    heading = ("Part", "MUST", "SHOULD", "MAY", "ours", "rows")
    table = _table(heading, *rows, cells("In all", list(ROWS)))
    if not PENDING:
        return table + "\naserve holds all of them.\n"
    pending = "".join(f"- `{name}`: {reason}\n" for name, reason in PENDING.items())
    return f"{table}\naserve holds all of them but these:\n\n{pending}"


def _compared(results: Results) -> str:
    def cells(name: str, level: str) -> str:
        asked = {row.name for row in COMPARED.values() if row.level == level}
        return f"{len(asked - results[name]['failed'].keys())} of {len(asked)}"

    rows = [
        (name, *(cells(name, level) for level in (MUST, SHOULD, MAY)), f"`{found['version']}`")
        for name, found in results.items()
    ]
    return _table(("Server", "MUST", "SHOULD", "MAY", "Version"), *rows)


def _differences(results: Results) -> str:
    """Return the MUST rows that not everybody holds, families of them in one line."""
    failed = {
        row: tuple("no" if row in found["failed"] else "yes" for found in results.values())
        for row, value in COMPARED.items()
        if value.level is MUST and any(row in found["failed"] for found in results.values())
    }
    rows = [(COMPARED[row].clause, f"`{row}`", *held) for row, held in failed.items()]
    return "### MUST rows that not every server holds\n\n" + _table(
        ("Clause", "Test", *results), *rows
    )


def _part(name: str, rows: list[Row]) -> str:
    lines = [
        (clause, str(row.level), _answer(row), f"`{row.name}`")
        for clause, of_clause in groupby(sorted(rows, key=_by_clause), key=lambda row: row.clause)
        for row in of_clause
    ]
    return f"### {name}\n\n{_table(('Clause', 'Level', 'Our answer', 'Test'), *lines)}\n"


def _by_clause(row: Row) -> tuple[str, list[int]]:
    document, _, section = row.clause.partition(" ")
    return document, [int(number) for number in re.findall(r"\d+", section)]


def _answer(row: Row) -> str:
    """Say in a few words what aserve answers."""
    said = [" or ".join(map(_reply, one.alternatives())) for one in row.ours.replies]
    runs = [(one, len(list(same))) for one, same in groupby(said)]
    if len(runs) > 6:
        runs = [*runs[:2], ("and so on", 1)]
    answer = ", then ".join(one if times == 1 else f"{one} ({times} times)" for one, times in runs)
    closing = "close" if row.ours.after is CLOSED else ""
    return ", then ".join(filter(None, (answer, closing)))


def _reply(expected: Expected) -> str:
    fields = [
        f"{name.title().replace('Etag', 'ETag')}: {check}"
        for name, check in expected.fields.items()
        if isinstance(check, str) and not check.startswith("<<")
    ]
    return " ".join([statuses(expected), *(f"`{one}`" for one in fields)]).replace("|", "\\|")


def _results() -> dict[str, Any]:
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def current() -> str:
    """Return the page as it should be now."""
    return page(_results())


def main() -> None:
    """Bring the page up to date."""
    PAGE.write_text(current())


if __name__ == "__main__":
    main()
