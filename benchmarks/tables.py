"""A result as a table: for the terminal with rich, for the page as Markdown."""

from rich.console import Console
from rich.table import Table

from benchmarks.figures import FIGURES, TIMES, Goal, Verdict, medians, shown
from benchmarks.results import Result
from benchmarks.works import WORKS

Rows = list[list[str]]


def rows(result: Result) -> Rows:
    """Return headings and one row for each server: medians, and the main figure to the peer's.

    The range behind the main figure is that of all rounds.
    """
    present = [name for name in FIGURES if medians(result.rounds, name)]
    if not present:
        return []
    main, peer = present[0], WORKS[result.work].peer
    columns = {name: medians(result.rounds, name) for name in present}
    to_peer = columns[main].get(peer)
    head = ["server", *(FIGURES[name].heading for name in present)]
    if to_peer:
        head.insert(2, f"{TIMES} {peer}")
    found = [head]
    for server, rounds in result.rounds.items():
        cells = [
            shown(columns[name][server]) if server in columns[name] else "" for name in present
        ]
        if len(rounds[main]) > 1:
            cells[0] += f" ({shown(min(rounds[main]))} to {shown(max(rounds[main]))})"
        if to_peer:
            cells.insert(1, f"{columns[main][server] / to_peer:.2f}")
        found.append([server, *cells])
    return found


def verdicts(result: Result) -> list[tuple[Goal, Verdict | None]]:
    """Return what came of each goal of a work."""
    return [(goal, goal.judge(result.rounds)) for goal in WORKS[result.work].goals]


def said(verdict: Verdict | None) -> str:
    """Return a verdict in words."""
    if verdict is None:
        return "not measured"
    return f"{verdict}: {'met' if verdict.met else 'not met'}"


def reasons(result: Result) -> list[str]:
    """Return what was thrown out and why, a line for each server."""
    return [
        f"{server} is {_how_much(result, server)}: {'; '.join(dict.fromkeys(why))}"
        for server, why in result.thrown_out.items()
    ]


def _how_much(result: Result, server: str) -> str:
    missing = len(result.thrown_out[server])
    if server not in result.rounds:
        return "left out"
    return f"{missing} round{'s' * (missing > 1)} short"


def markdown(table: Rows, align: str = "---:") -> str:
    """Return a table in Markdown; what is behind the first column is figures, to the right."""
    head, *body = ["| " + " | ".join(row) + " |" for row in table]
    rule = "| --- |" + f" {align} |" * (len(table[0]) - 1)
    return "\n".join((head, rule, *body)) + "\n"


def print_result(result: Result, console: Console) -> None:
    """Print a result, its goals, and what was thrown out."""
    if table := rows(result):
        shape = Table(title=result.title, title_justify="left", title_style="bold")
        for number, heading in enumerate(table[0]):
            shape.add_column(heading, justify="right" if number else "left", no_wrap=not number)
        for row in table[1:]:
            shape.add_row(*row)
        console.print(shape)
    for goal, verdict in verdicts(result):
        console.print(f"  goal {goal.of}: {goal}; found {said(verdict)}", highlight=False)
    for reason in reasons(result):
        console.print(f"  {reason}", highlight=False)
